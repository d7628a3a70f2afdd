"""BibTeX entries for everything fitwell implements, ships or stands on."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path

from .errors import unknown_name

FILE = Path(__file__).with_name("references.bib")

DATA_SETS = {
    "mnist": "lecun1998gradient",
    "fashion_mnist": "xiao2017fashion",
    "cifar10": "krizhevsky2009learning",
    "digits": "pedregosa2011scikit",
    "iris": "pedregosa2011scikit",
    "wine": "pedregosa2011scikit",
    "breast_cancer": "pedregosa2011scikit",
    "diabetes": "pedregosa2011scikit",
}
"""Which entry to cite for a built-in data set, by its name."""

RE_EXPORTS = {
    "optim.ASGD": "polyak1992acceleration",
    "optim.Adadelta": "zeiler2012adadelta",
    "optim.Adafactor": "shazeer2018adafactor",
    "optim.Adagrad": "duchi2011adaptive",
    "optim.Adamax": "kingma2015adam",
    "optim.NAdam": "dozat2016incorporating",
    "optim.RAdam": "liu2020variance",
    "optim.RMSprop": "tieleman2012lecture",
}
"""Which entry to cite for a method that another library implements and fitwell passes on."""


@functools.cache
def references(file: Path = FILE) -> dict[str, str]:
    """Give the BibTeX entries by key, in the order of the file.

    Args:
        file: The BibTeX file; every entry begins with ``@`` at the start of a line.
    """
    text = file.read_text(encoding="utf-8")
    blocks = re.finditer(r"^@\w+\{([^,\s]+),.*?^\}", text, re.MULTILINE | re.DOTALL)
    return {block[1]: block[0] for block in blocks}


def bibtex(keys: Iterable[str]) -> str:
    """Give the entries of some keys, each once, in the order asked for.

    Args:
        keys: Keys of the reference file.

    Raises:
        UnknownName: A key has no entry.
    """
    known = references()
    chosen = list(dict.fromkeys(keys))
    for key in chosen:
        if key not in known:
            raise unknown_name("cite", "reference", key, known)
    return "\n\n".join(known[key] for key in chosen)


def own_entry(version: str) -> str:
    """Give the BibTeX entry of fitwell itself.

    Args:
        version: Version to cite.
    """
    return (
        "@software{fitwell,\n"
        "  author  = {{The fitwell developers}},\n"
        "  title   = {fitwell: train neural networks and learn why they do not learn},\n"
        f"  version = {{{version}}},\n"
        "  year    = {2026},\n"
        "  license = {Apache-2.0}\n"
        "}"
    )
