"""The line that data follow, in imports: no module imports a later stage, and there are no circles."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from dabs_rq import registry

# In the order in which data pass through them, last first: a stage imports only what stands after it here.
STAGES = [
    "__main__",
    "cli",
    "api",
    "report",
    "suite",
    "experiment",
    "table",
    "transfer",
    "pretrain",
    "sources",
    "run",
    "domains",
    "miniature",
    "records",
    "checkpoint",
    "registry",
    "domain",
    "methods",
    "networks",
    "encoders",
    "data",
    "metrics",
    "spec",
    "protocol",
    "typed",
    "ranks",
    "quantize",
    "plugins",
    "files",
    "errors",
]
ROOT = registry.PACKAGE.parent
FILES = sorted([*ROOT.glob("dabs_rq/**/*.py"), *ROOT.glob("dabs_rq/domains/**/*.py")])
MODULES = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES}


def stage(module: str) -> str:
    _, *rest = module.split(".")
    return rest[0] if rest else ""


def imported(module: str, *, at_the_top: bool = False) -> set[str]:
    """The modules of ours that a module imports; only those that importing it imports at once, if asked for."""
    file = MODULES[module]
    tree = ast.parse(file.read_text())
    nodes = list(_at_the_top(tree)) if at_the_top else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            parts = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= parts if parts <= MODULES.keys() else {node.module or "", *parts}
    return {name for name in names if name in MODULES and name != module}


def _at_the_top(tree: ast.Module) -> list[ast.stmt]:
    found: list[ast.stmt] = []
    for node in tree.body:
        inside = node.body if isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.unparse(node.test) else [node]
        found += inside
    return found


def test_every_stage_has_its_place() -> None:
    unknown = {stage(module) for module in MODULES if stage(module)} - set(STAGES)
    assert not unknown, f"say in STAGES where {', '.join(sorted(unknown))} stands in the flow of data"


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_a_later_stage(module: str) -> None:
    if not stage(module):
        return
    later = {
        other for other in imported(module) if stage(other) and STAGES.index(stage(other)) < STAGES.index(stage(module))
    }
    assert not later, f"{module} is of stage {stage(module)}, but imports {', '.join(sorted(later))}"


# A domain that is another's source with its labels may import that one.
OF_ANOTHER = {"imagenet": "dabs_rq.domains.images"}


@pytest.mark.parametrize("name", registry.domain_names())
def test_no_domain_imports_another(name: str) -> None:
    package = f"dabs_rq.domains.{name}"
    own = [module for module in MODULES if f"{module}.".startswith(f"{package}.")]
    assert own
    for module in own:
        others = {one for one in imported(module) if one.startswith("dabs_rq.domains.") and one not in own}
        others = {one for one in others if not one.startswith(OF_ANOTHER.get(name, package))}
        assert not others, f"{module} imports {', '.join(sorted(others))}: what domains share lies in dabs_rq/"


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imported(module, at_the_top=True) for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' -> '.join((*path[path.index(module) :], module))}"
        if module not in done:
            for other in sorted(graph[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_the_root_of_the_package_is_small() -> None:
    files = [file.name for file in registry.PACKAGE.glob("*.py")]
    assert len(files) <= 12, f"at most 12 modules at the root of the package: {', '.join(sorted(files))}"


def test_files_are_small() -> None:
    large = [
        f"{file.relative_to(ROOT)}: {n}" for file in FILES if (n := len(Path(file).read_text().splitlines())) > 310
    ]
    assert not large, f"split what is above about 300 lines: {'; '.join(large)}"
