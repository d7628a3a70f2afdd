"""The surface of the command line is frozen: a new option is a reviewed line in ``options.txt``.

To accept a change: ``python tests/cli/test_options.py > tests/cli/options.txt``
"""

import sys
from pathlib import Path

from fitwell.cli._arguments import Options
from fitwell.cli._main import load
from fitwell.cli._verbs import TABLE

FROZEN = Path(__file__).with_name("options.txt")


def surface() -> str:
    """Give every verb with its arguments and options as text."""
    parts = []
    for verb in TABLE:
        lines = Options.of(load(verb)).surface()
        parts.append("\n".join([verb.words, *(f"    {line}" for line in lines)]))
    return "\n".join(parts) + "\n"


def test_no_option_changed_unseen() -> None:
    assert surface() == FROZEN.read_text(encoding="utf-8")


def test_every_argument_has_a_line_of_help() -> None:
    silent = []
    for verb in TABLE:
        options = Options.of(load(verb))
        silent += [
            f"{verb.words} {name}" for name in options.parameters if name not in options.card.args
        ]
    assert silent == []


if __name__ == "__main__":
    sys.stdout.write(surface())
