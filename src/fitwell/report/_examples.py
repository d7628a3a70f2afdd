"""Single examples a model got wrong: as pictures, or as rows of their table."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from ._numbers import percent, plain, short
from ._records import Records, mapping, number, sequence

_LISTED: Final = 24
_COLUMNS: Final = 8
_BYTES: Final = 900_000
"""Pictures of errors together, as base64; the page must stay small enough to mail."""
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_SMALL: Final = 64


@final
@dataclass(frozen=True)
class Picture:
    """A PNG that a record holds.

    Args:
        text: The file in base64; empty if the record holds anything else.
        width: Its width in pixels.
        height: Its height in pixels.
    """

    text: str = ""
    width: int = 0
    height: int = 0

    @property
    def pixels(self) -> bool:
        """Whether it is so small that its pixels should show."""
        return 0 < self.height <= _SMALL

    @classmethod
    def read(cls, value: Any) -> Picture:
        """Read what should be the base64 text of a PNG.

        Args:
            value: What a record holds.
        """
        if not isinstance(value, str):
            return cls()
        try:
            content = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            return cls()
        if not content.startswith(_PNG) or len(content) < 24:
            return cls()
        sides = (int.from_bytes(content[start : start + 4], "big") for start in (16, 20))
        return cls(value, *sides)


def errors(records: Records) -> list[dict[str, Any]]:
    """Show the worst answers: lists of pictures, or tables of rows; empty if none is recorded.

    Args:
        records: Records of the run.
    """
    numbers = records.evaluation.get("regression") is not None
    lists = [("Furthest from the truth" if numbers else "Wrong and most confident", "examples")]
    if not numbers:
        lists.append(("Other errors, least likely truth first", "worst"))
    found, budget = [], _BYTES
    for title, key in lists:
        items = [mapping(item) for item in sequence(records.evaluation.get(key))[:_LISTED]]
        shown = []
        for item in items:
            picture = Picture.read(item.get("picture"))
            picture = picture if len(picture.text) <= budget else Picture()
            budget -= len(picture.text)
            shown.append({**_words(item), "picture": picture, "row": mapping(item.get("row"))})
        if shown:
            found.append({"title": title, "numbers": numbers, **_arranged(shown)})
    return found


def _arranged(shown: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    listed = [item for item in shown if not item["picture"].text]
    columns = list(dict.fromkeys(str(name) for item in listed for name in item["row"]))[:_COLUMNS]
    return {
        "pictures": [item for item in shown if item["picture"].text],
        "columns": columns,
        "listed": [
            {**item, "cells": [_cell(item["row"].get(name)) for name in columns]} for item in listed
        ],
    }


def _words(item: Mapping[str, Any]) -> dict[str, str]:
    guess, true = number(item.get("prediction")), number(item.get("target"))
    return {
        "id": plain(item.get("id")),
        "target": plain(item.get("target")) if true is None else short(true),
        "prediction": plain(item.get("prediction")) if guess is None else short(guess),
        "error": "" if guess is None or true is None else short(guess - true),
        "probability": _share(item.get("probability")),
        "target_probability": _share(item.get("target_probability")),
    }


def _share(value: Any) -> str:
    share = number(value)
    return "" if share is None else percent(share)


def _cell(value: Any) -> str:
    known = number(value)
    return short(known) if known is not None else "–" if value is None else plain(value)
