"""What every augmentation is made of: draws per image, work in pieces, and checks of settings.

B batch, C channels, H W height width.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...core.errors import UsageError

# On a CPU the images are changed some at a time, so that what lies between two passes stays in the
# cache; on other devices all at once.
_PIECE_BYTES = 2**20

Places = slice | Tensor
Change = Callable[[Tensor, Places], Tensor]


class Augmentation(ABC):
    """A random change of a batch of images (B, C, H, W) in [0, 1], each with draws of its own."""

    mixes: ClassVar[bool] = False
    recolors: ClassVar[bool] = False
    """Whether it changes values, for which they must lie in [0, 1], and not their places alone."""

    @abstractmethod
    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Change a batch; the input itself is left alone, but may be what comes back.

        Args:
            x: The images.
            generator: Where all draws come from; on the device of the images.
        """


class Mixing(ABC):
    """A random change of images together with their targets."""

    mixes: ClassVar[bool] = True

    @abstractmethod
    def __call__(
        self, x: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch; inputs and targets are left alone, but may be what comes back.

        Args:
            x: The images.
            targets: Probabilities (B, K) or numbers (B,), as floats.
            generator: Where all draws come from; on the device of the images.
        """


def uniform(
    count: int, low: float, high: float, generator: torch.Generator, device: torch.device
) -> Tensor:
    """Draw a number per image.

    Args:
        count: How many.
        low: Smallest value.
        high: Largest value.
        generator: Where the draws come from.
        device: Where they are wanted.
    """
    drawn = torch.rand(count, generator=generator, device=device)
    return drawn.mul_(high - low).add_(low)


def coins(count: int, p: float, generator: torch.Generator, device: torch.device) -> Tensor:
    """Draw for each image whether it is changed.

    Args:
        count: How many.
        p: Probability of a change.
        generator: Where the draws come from.
        device: Where they are wanted.
    """
    return torch.rand(count, generator=generator, device=device) < p


def per_image(values: Tensor, x: Tensor) -> Tensor:
    """Give numbers (B,) the shape (B, 1, 1, 1) and the dtype of the images they are for.

    Args:
        values: A number per image.
        x: The images.
    """
    return values.to(x.dtype).view(-1, 1, 1, 1)


def pieces(x: Tensor) -> Iterator[slice]:
    """Cut a batch into stretches of images that fit in a processor's cache.

    Args:
        x: The images.
    """
    whole = len(x)
    size = max(1, _PIECE_BYTES * whole // max(1, x.nbytes)) if x.device.type == "cpu" else whole
    for start in range(0, whole, max(1, size)):
        yield slice(start, min(start + size, whole))


def changed(x: Tensor, change: Change, chosen: Tensor | None = None) -> Tensor:
    """Change all images, or the chosen ones, into a new batch.

    Args:
        x: The images.
        change: Gives new images for some images and their places in the batch.
        chosen: Which ones; (B,) bool. None changes all.
    """
    if chosen is not None and x.device.type != "cpu":  # to look up which ones would wait for it
        every = change(x, slice(0, len(x)))
        return torch.where(chosen.view(-1, 1, 1, 1), every, x)
    out = torch.empty_like(x)
    for piece in pieces(x):
        images = x[piece]
        places = None if chosen is None else chosen[piece].nonzero().squeeze(1)
        if places is None or len(places) == len(images):
            out[piece] = change(images, piece)
            continue
        out[piece] = images
        if len(places):
            few = change(images.index_select(0, places), places + piece.start)
            out[piece].index_copy_(0, places, few)
    return out


def check_share(owner: str, **values: float) -> None:
    """Refuse what is no share of a whole.

    Args:
        owner: Name of the augmentation.
        values: The settings by name.

    Raises:
        UsageError: One lies outside [0, 1].
    """
    for name, value in values.items():
        if not (_is_number(value) and 0 <= value <= 1):
            raise UsageError(f"{owner}: `{name}` must lie in [0, 1]; got {value!r}.")


def check_range(
    owner: str, name: str, value: Any, *, low: float = 0.0, high: float = math.inf
) -> None:
    """Refuse what is no pair of numbers in order.

    Args:
        owner: Name of the augmentation.
        name: Name of the setting.
        value: The setting.
        low: Bound that both must be above.
        high: Bound that neither may exceed.

    Raises:
        UsageError: It is no pair, or out of bounds.
    """
    pair = isinstance(value, (tuple, list)) and len(value) == 2 and all(map(_is_number, value))
    if not (pair and low < value[0] <= value[1] <= high):
        bound = f"above {low:g}" + (f" and at most {high:g}" if high < math.inf else "")
        raise UsageError(
            f"{owner}: `{name}` must be two numbers (smallest, largest) {bound}; got {value!r}."
        )


def check_at_least(owner: str, low: float = 0, **values: float) -> None:
    """Refuse numbers below a bound.

    Args:
        owner: Name of the augmentation.
        low: Smallest number allowed.
        values: The settings by name.

    Raises:
        UsageError: One is no finite number or too small.
    """
    for name, value in values.items():
        if not (_is_number(value) and low <= value < math.inf):
            raise UsageError(f"{owner}: `{name}` must be at least {low:g}; got {value!r}.")


def check_channels(owner: str, x: Tensor, allowed: tuple[int, ...]) -> None:
    """Refuse images whose channels are not those of the colors meant.

    Args:
        owner: Name of the augmentation.
        x: The images.
        allowed: Numbers of channels that will do.

    Raises:
        UsageError: The images have another number of channels.
    """
    if x.shape[1] not in allowed:
        wanted = "3 channels (red, green, blue)" if allowed == (3,) else "1 channel or 3"
        raise UsageError(
            f"{owner}: `x` must have {wanted}; got shape {tuple(x.shape)}. Leave {owner} out."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
