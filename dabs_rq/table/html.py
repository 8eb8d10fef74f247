"""Writes the table as one self-contained HTML page: no scripts, no external files, readable with a screen reader."""

from __future__ import annotations

from dabs_rq.table.contents import DASH, Table
from dabs_rq.table.layout import MEANINGS, lay_out

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; font: 16px/1.4 system-ui, sans-serif; }
body { margin: 1.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .5rem; }
th, td { padding: .15rem .7rem; text-align: left; font-weight: 400; white-space: nowrap; }
th.number, td.number { text-align: right; }
thead { border-top: 2px solid; }
thead th, th[scope=rowgroup] { font-weight: 600; }
th[scope=colgroup] { text-align: center; }
tbody { border-top: 1px solid; }
table { border-bottom: 2px solid; }
tr.average { font-style: italic; }
abbr { text-decoration: none; }
.notes { max-width: 60rem; font-size: .9rem; padding-left: 1.2rem; }
</style>
</head>
<body>
<main>
<div class="scroll" role="region" aria-labelledby="caption" tabindex="0">
<table>
<caption id="caption">{{ title }}</caption>
<thead>
{%- if blocks | length > 1 %}
<tr><td colspan="2"></td>
{%- for block, names in blocks %}<th scope="colgroup" colspan="{{ names | length }}">{{ block }}</th>{% endfor %}</tr>
{%- endif %}
<tr><th scope="col">Dataset</th><th scope="col">Metric</th>
{%- for _, names in blocks %}{% for name in names %}<th scope="col" class="number">{{ name }}</th>{% endfor %}
{%- endfor %}</tr>
</thead>
{%- macro row(line, kind) %}
<tr{% if kind %} class="{{ kind }}"{% endif %}><th scope="row">{{ line.title }}</th><td>{{ line.metric }}</td>
{%- for cell in line.cells %}<td class="number">
{%- if cell.text == dash %}<abbr title="no result">{{ dash }}</abbr>
{%- elif cell.best %}<strong>{{ cell.text }}</strong>
{%- else %}{{ cell.text }}
{%- endif %}
{%- for mark in cell.marks %}<sup><abbr title="{{ meanings[mark] }}">{{ mark }}</abbr></sup>{% endfor %}</td>
{%- endfor %}</tr>
{%- endmacro %}
{%- for group in groups %}
<tbody>
<tr><th scope="rowgroup" colspan="{{ width + 2 }}">{{ group.title }}</th></tr>
{%- for line in group.lines %}{{ row(line, "") }}{% endfor %}
{%- if group.mean %}{{ row(group.mean, "average") }}{% endif %}
</tbody>
{%- endfor %}
{%- if rank %}
<tbody>{{ row(rank, "average") }}
</tbody>
{%- endif %}
</table>
</div>
<ul class="notes">
{%- for note in notes %}
<li>{{ note }}</li>
{%- endfor %}
</ul>
</main>
</body>
</html>
"""


def to_html(table: Table) -> str:
    from jinja2 import Environment, StrictUndefined

    layout = lay_out(table)
    template = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True).from_string(_PAGE)
    return template.render(
        title=table.title,
        blocks=layout.blocks,
        groups=layout.groups,
        rank=layout.rank,
        notes=layout.notes,
        width=layout.width,
        dash=DASH,
        meanings=MEANINGS,
    )
