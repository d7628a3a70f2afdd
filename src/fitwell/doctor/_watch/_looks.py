"""What was seen at the looks: bounded, on the device until it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor

Key = tuple[str, str, str]
"""Section, name of the parameter or module (empty where there is one thing only), field."""

_NUMBERS = 2**19
_FEWEST, _MOST = 16, 256


@final
class Looks:
    """Numbers of each look; when there are too many, every second one is dropped."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._known: list[dict[Key, float]] = []
        self._held: list[list[tuple[list[Key], Tensor]]] = []

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, step: int, values: Mapping[Key, Tensor | float]) -> None:
        """Take in a look; numbers on a device stay there.

        Args:
            step: When it was.
            values: Numbers, and tensors with one number.
        """
        known: dict[Key, float] = {}
        apart: dict[torch.device, tuple[list[Key], list[Tensor]]] = {}
        for key, value in values.items():
            if not isinstance(value, Tensor):
                known[key] = value
            elif value.device.type == "cpu":
                known[key] = float(value.item())
            else:
                keys, tensors = apart.setdefault(value.device, ([], []))
                keys.append(key)
                tensors.append(value.detach().float().reshape(()))
        self.steps.append(step)
        self._known.append(known)
        self._held.append([(keys, torch.stack(tensors)) for keys, tensors in apart.values()])
        capacity = min(max(_NUMBERS // max(len(values), 1), _FEWEST), _MOST)
        if len(self.steps) > capacity:
            for column in (self.steps, self._known, self._held):
                del column[1::2]

    def columns(self) -> dict[str, dict[str, dict[str, list[float | None]]]]:
        """Give section, name, field: one number per look, None where it was not seen."""
        self._fetch()
        found: dict[str, dict[str, dict[str, list[float | None]]]] = {}
        for number, known in enumerate(self._known):
            for (section, name, field), value in known.items():
                fields = found.setdefault(section, {}).setdefault(name, {})
                column = fields.setdefault(field, [None] * len(self.steps))
                column[number] = value
        return found

    def _fetch(self) -> None:
        """Bring everything over, in one transfer per device."""
        waiting: dict[torch.device, list[tuple[int, list[Key], Tensor]]] = {}
        for number, held in enumerate(self._held):
            for keys, tensor in held:
                waiting.setdefault(tensor.device, []).append((number, keys, tensor))
        for parts in waiting.values():
            numbers: list[Any] = torch.cat([tensor for _, _, tensor in parts]).tolist()
            for number, keys, _ in parts:
                self._known[number].update(zip(keys, numbers[: len(keys)], strict=True))
                del numbers[: len(keys)]
        self._held = [[] for _ in self.steps]
