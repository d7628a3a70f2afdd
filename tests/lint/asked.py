"""What the rules find in a program, for tests."""

from __future__ import annotations

import textwrap

from fitwell.lint import Finding, check_texts


def found_in(text: str, path: str = "train.py", **others: str) -> list[Finding]:
    """Give all findings in a program, hints included; other files of its project by their stems."""
    texts = {f"{stem}.py": textwrap.dedent(other) for stem, other in others.items()}
    return check_texts({path: textwrap.dedent(text), **texts})


def rules_in(text: str, **others: str) -> list[str]:
    """Give the names of the rules that a program breaks, in the order of the lines."""
    return [finding.rule for finding in found_in(text, **others)]
