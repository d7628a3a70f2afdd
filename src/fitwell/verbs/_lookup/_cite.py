"""`fitwell cite`: BibTeX for methods, for everything a run used, or for fitwell."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from ...core.catalog import find
from ...core.errors import UnknownName, UsageError
from ...core.references import DATA_SETS, bibtex, own_entry, references
from ...core.runs import RunFiles, is_run, methods_used, read_run

_UNDER_EVERY_RUN = "paszke2019pytorch"
_FAMILIES = {
    "spec": "nn",
    "loss": "losses",
    "optimizer": "optim",
    "schedule": "optim",
    "augment": "data",
    "average": "train",
    "distill": "train",
}
"""Where the method of a setting is published; the same name may stand in two families."""

_SETTINGS = {
    "layer_decay": "howard2018universal",
    "unfreeze_every": "howard2018universal",
    "patience": "prechelt1998early",
    "grad_clip_norm": "pascanu2013difficulty",
}
"""What a setting that is a number switches on."""


@final
@dataclass(frozen=True, kw_only=True)
class Citations:
    """References to cite.

    Args:
        keys: Their keys, in the order in which they were asked for.
        text: Their BibTeX entries.
    """

    keys: tuple[str, ...]
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Give keys and BibTeX as plain data, ready for JSON."""
        return {"keys": list(self.keys), "bibtex": self.text}

    def __str__(self) -> str:
        return self.text


def cite(*names: str) -> Citations:
    """Print BibTeX for methods, for everything a run used, or for fitwell when nothing is named.

    Args:
        names: Methods such as `optim.AdamW`, folders of runs, built-in data sets, or keys of the
            reference file.

    Raises:
        UnknownName: A name is none of these.
        UsageError: A method of that name exists but has no source to cite.
    """
    from ... import __version__

    keys: list[str] = []
    for name in names:
        keys += _run_keys(read_run(name, owner="cite")) if is_run(name) else _keys(name)
    parts = [bibtex(keys)] if keys else []
    if not names or any(is_run(name) for name in names):
        parts.append(own_entry(__version__))
        keys.append("fitwell")
    return Citations(keys=tuple(dict.fromkeys(keys)), text="\n\n".join(parts))


def _keys(name: str) -> list[str]:
    if name in references():
        return [name]
    if name in DATA_SETS:
        return [DATA_SETS[name]]
    entry = find(name, owner="cite")
    if not entry.card.keys:
        raise UsageError(
            f"cite: `names` must have sources; got {name!r}, and {entry.path} names none."
            f" See: fitwell show {entry.path}"
        )
    return list(entry.card.keys)


def _run_keys(run: RunFiles) -> list[str]:
    """Give the keys of the methods and the data of a run, and of the library under it."""
    keys: list[str] = []
    for setting, word in [*methods_used(run.settings), *methods_used(run.run.get("data"))]:
        if word in DATA_SETS:
            keys.append(DATA_SETS[word])
        elif setting in _FAMILIES:
            with contextlib.suppress(UnknownName):  # the user's own method
                keys += find(word, family=_FAMILIES[setting]).card.keys
    search = run.settings.get("optimization")
    search = search if isinstance(search, Mapping) else {}
    keys += [key for name, key in _SETTINGS.items() if search.get(name) is not None]
    if search.get("precision", "float32") != "float32":
        keys.append("micikevicius2018mixed")
    return [*keys, _UNDER_EVERY_RUN]
