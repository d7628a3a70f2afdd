"""The text of a space, in which models of the user's own may stand: a file's, or Python's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, final

from ...core.errors import UsageError
from ...core.spec import Spec, parse
from ._space import Own

_FILE: Final = re.compile(r"[^\s,()'\"=][^,()'\"=]*?\.py:(?=[A-Za-z_])")
"""The file in ``choice(my net.py:Net(width=8), MLP())``."""


@final
@dataclass(frozen=True)
class Written:
    """What an option may be, as it was written.

    Args:
        text: The text, with ``own_model_0`` in place of the first model that is given from Python.
        own: Those models.
    """

    text: str
    own: tuple[Own, ...] = ()

    def __str__(self) -> str:
        text = self.text
        for place, one in enumerate(self.own):
            text = text.replace(_place(place), one.name)
        return text

    def parsed(self) -> Spec:
        """Read the text as the arguments of a spec.

        Raises:
            UsageError: It is none.
        """
        files: list[str] = []

        def stand_in(match: re.Match[str]) -> str:
            files.append(match[0])
            return f"own_file_{len(files) - 1}_"

        text = _FILE.sub(stand_in, self.text)
        words = {f"own_file_{place}_": file for place, file in enumerate(files)}
        models = {_place(place): one for place, one in enumerate(self.own)}
        found: Spec = _restored(parse(f"settings({text})"), words, models)
        return found


def _place(number: int) -> str:
    return f"own_model_{number}_"


def _restored(value: Any, words: dict[str, str], models: dict[str, Own]) -> Any:
    """Put names of files and models back where others stand for them."""
    if isinstance(value, str):
        for word, file in words.items():
            value = value.replace(word, file)
        return value
    if isinstance(value, Spec):
        if value.name in models:
            return models[value.name]
        return Spec(
            _restored(value.name, words, models),
            tuple(_restored(item, words, models) for item in value.args),
            {name: _restored(item, words, models) for name, item in value.kwargs.items()},
        )
    if isinstance(value, (list, tuple)):
        return type(value)(_restored(item, words, models) for item in value)
    return value


def written(value: Any) -> Written:
    """Give the text of what was given from Python; a list of values is a choice.

    Args:
        value: A text, or a list of values, among which models of one's own may be.
    """
    own: list[Own] = []

    def text_of(item: Any) -> str:
        if isinstance(item, str):
            return _one_value(item)
        if not callable(item):
            return repr(item)
        own.append(Own(item, getattr(item, "__qualname__", type(item).__name__)))
        return _place(len(own) - 1)

    if isinstance(value, (list, tuple, range)):
        text = f"choice({', '.join(map(text_of, value))})"
    else:
        text = value if isinstance(value, str) else text_of(value)
    return Written(text, tuple(own))


def _one_value(text: str) -> str:
    """Quote what is no single spec, such as ``Flip(), Crop()``."""
    try:
        within = Written(text).parsed()
    except UsageError:
        return repr(text)
    return text if len(within.args) == 1 and not within.kwargs else repr(text)
