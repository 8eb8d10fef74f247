"""The parser of the command line, and its help."""

from __future__ import annotations

import argparse
from importlib import metadata

from dabs_rq.cli.commands import COMMANDS

_COMMON = """\
Options are words of the form key=value. The most used:
  domain=sensor             which domain, or several: domain=sensor,text (see `python -m dabs_rq domains`)
  method=rq                 none, emix or rq, or several; method.<name> are its options, such as method.bins=4
  encoder=transformer       the encoder; encoder.<name> are its options, such as encoder.depth=6
  encoders=mine,yours       networks with weights of their own to score beside the methods; for a table also by name
  scale=mini                mini (minutes on two cores) or paper (the published budget; needs data=)
  protocol=corrected        corrected, or published with its defects; one option alone: protocol.<name>=...
  data=/root                root of the real data; without it made-up miniature data are written and used
  seeds=0,1,2               one run per seed
  out=folder                where tables go
  pretrain.steps=1000       any other option; --show-options prints all of them with their values
"""


def make_parser() -> argparse.ArgumentParser:
    style = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m dabs_rq",
        description="Reproduce the DABS comparison of domain-agnostic self-supervised learning.",
        epilog=_COMMON,
        formatter_class=style,
    )
    parser.add_argument("--version", action="version", version=f"dabs_rq {metadata.version('dabs_rq')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, about in COMMANDS.items():
        command = commands.add_parser(
            name, help=about.help, description=about.help, epilog=_COMMON, formatter_class=style
        )
        if name == "data":
            command.add_argument("words", nargs="*", metavar="word", help="list, fetch or verify; sources; options")
        elif name == "experiment":
            command.add_argument("words", nargs="*", metavar="word", help="the experiment's name; options, see below")
            command.add_argument("--dry-run", action="store_true", help="print what remains and its cost, and stop")
        else:
            command.add_argument("words", nargs="*", metavar="key=value", help="options, see below")
        command.add_argument("--show-options", action="store_true", help="print all options and stop")
        if name == "ablate":
            command.add_argument(
                "--over",
                required=True,
                metavar="option[=value,value],...",
                help="options to compare; default values: those declared with the option; `protocol`: all its options",
            )
            command.add_argument("--each", action="store_true", help="one option at a time instead of the grid of all")
            command.add_argument("--dry-run", action="store_true", help="print what remains and its cost, and stop")
        if name == "suite":
            only = command.add_mutually_exclusive_group()
            only.add_argument("--dry-run", action="store_true", help="print what is done and what remains, and stop")
            only.add_argument(
                "--verify",
                action="store_true",
                help="compute nothing: check that every cell still follows from code, data, options and checkpoint",
            )
            only.add_argument(
                "--refresh",
                action="store_true",
                help="verify, then compute stale cells again (old files are kept as *.stale)",
            )
    return parser
