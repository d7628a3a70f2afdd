"""How the examples of K models lie in one batch, and the noise that each model draws.

Axes: B batch of each member, K members, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor


@final
class Fold:
    """How examples of K members lie in one batch.

    Args:
        size: K.
        inner: Whether the member runs fastest, else the example.
    """

    def __init__(self, size: int, inner: bool) -> None:
        self.size, self.inner = size, inner

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Make one batch of the members' batches.

        Args:
            parts: K of (B, ...).
        """
        return (
            torch.stack(list(parts), dim=1).flatten(0, 1) if self.inner else torch.cat(list(parts))
        )

    def open(self, x: Tensor) -> Tensor:
        """Give (K, B, ...), a view.

        Args:
            x: A batch of all.
        """
        if self.inner:
            return x.reshape(-1, self.size, *x.shape[1:]).transpose(0, 1)
        return x.reshape(self.size, -1, *x.shape[1:])

    def close(self, x: Tensor) -> Tensor:
        """Give a batch of all.

        Args:
            x: (K, B, ...).
        """
        return (x.transpose(0, 1) if self.inner else x).flatten(0, 1)

    def wide(self, x: Tensor) -> Tensor:
        """Give (B, K · C, ...), a view where the member runs fastest.

        Args:
            x: A batch of all, (·, C, ...).
        """
        if self.inner:
            return x.reshape(-1, self.size * x.shape[1], *x.shape[2:])
        return self.open(x).transpose(0, 1).flatten(1, 2)

    def narrow(self, x: Tensor) -> Tensor:
        """Undo `wide`.

        Args:
            x: (B, K · C, ...).
        """
        parts = x.reshape(len(x), self.size, -1, *x.shape[2:])
        return parts.flatten(0, 1) if self.inner else parts.transpose(0, 1).flatten(0, 1)

    def spread(self, values: Tensor, x: Tensor) -> Tensor:
        """Give values of the members in a shape that meets the batch of all, opened.

        Args:
            values: (K, C) or (K,).
            x: A batch of all, (·, C, ...).
        """
        trailing = x.ndim - values.ndim
        return values.view(self.size, 1, *values.shape[1:], *[1] * trailing)


class own_noise:
    """Let torch draw from a generator's stream, and the generator go on from where that ended."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._gpu = generator.device if generator.device.type == "cuda" else None

    def _state(self) -> Tensor:
        return torch.get_rng_state() if self._gpu is None else torch.cuda.get_rng_state(self._gpu)

    def _set(self, state: Tensor) -> None:
        if self._gpu is None:
            torch.set_rng_state(state)
        else:
            torch.cuda.set_rng_state(state, self._gpu)

    def __enter__(self) -> None:
        self._before = self._state()
        self._set(self._generator.get_state())

    def __exit__(self, *_: object) -> None:
        self._generator.set_state(self._state())
        self._set(self._before)
