"""Checks of what goes into a model, with messages that name the layer; nothing here computes.

Axes: B batch, C channels, H W height width, F features.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, get_args

from torch import Tensor, nn

from ..core.errors import UsageError

ImageSize = int | Sequence[int] | None

_CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def check_positive(owner: str, **sizes: int) -> None:
    """Refuse sizes below 1.

    Args:
        owner: Who asks, for the message.
        sizes: Arguments of the owner by name.

    Raises:
        UsageError: One of the sizes is below 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise UsageError(f"{owner}: `{name}` must be at least 1; got {size}. Use 1 or more.")


def check_fraction(owner: str, **fractions: float) -> None:
    """Refuse numbers outside [0, 1).

    Args:
        owner: Who asks, for the message.
        fractions: Arguments of the owner by name.

    Raises:
        UsageError: One of the numbers is below 0 or not below 1.
    """
    for name, value in fractions.items():
        if not 0 <= value < 1:
            raise UsageError(
                f"{owner}: `{name}` must lie in [0, 1); got {value}. Use 0 to switch it off."
            )


def check_choice(owner: str, known: Any, **choices: str) -> None:
    """Refuse options that are not among the known ones.

    Args:
        owner: Who asks, for the message.
        known: The ``Literal`` of the options; the first is suggested.
        choices: Arguments of the owner by name.

    Raises:
        UsageError: One of the options is not known.
    """
    options = get_args(known)
    for name, value in choices.items():
        if value not in options:
            raise UsageError(
                f"{owner}: `{name}` must be one of {options}; got {value!r}. Use {options[0]!r}."
            )


def check_image_size(
    owner: str, image_size: ImageSize, *, smallest: int = 1, largest: int | None = None
) -> tuple[int, int] | None:
    """Give the height and width, refusing images that the model cannot take.

    Args:
        owner: Which model asks, for the message.
        image_size: One number for square images, or height and width; None when not known yet.
        smallest: Least height and width that the model can take.
        largest: Greatest height and width that the model can take; None for any.

    Raises:
        UsageError: The size is not one or two numbers, or out of range.
    """
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2:
        raise UsageError(
            f"{owner}: `image_size` must be one number, or height and width; got {size}."
        )
    if min(size) < smallest:
        raise UsageError(
            f"{owner}: `image_size` must be at least {smallest} x {smallest}; got"
            f" {size[0]} x {size[1]}. Enlarge the images, or use MLP."
        )
    if largest is not None and max(size) > largest:
        raise UsageError(
            f"{owner}: `image_size` must be at most {largest} x {largest}; got"
            f" {size[0]} x {size[1]}. Shrink the images, or use CNN."
        )
    return size


def check_images(
    owner: str, x: Tensor, in_channels: int, *, smallest: int = 1, largest: int | None = None
) -> None:
    """Refuse a batch that is not images of the right kind, before a layer fails on it.

    Args:
        owner: Which model asks, for the message.
        x: What the model was given.
        in_channels: Channels that the model takes.
        smallest: Least height and width that the model can take.
        largest: Greatest height and width that the model can take; None for any.

    Shapes:
        x: (B, C, H, W)

    Raises:
        UsageError: The batch has other axes, other channels, or images out of range.
    """
    if x.ndim != 4 or x.shape[1] != in_channels:
        raise UsageError(
            f"{owner}: `x` must be images of shape (B, {in_channels}, H, W); got"
            f" {tuple(x.shape)}. Build the model with the channels that the images have."
        )
    check_image_size(owner, tuple(x.shape[2:]), smallest=smallest, largest=largest)


def check_input(module: nn.Module, x: Tensor) -> None:
    """Run `x` through a stack of layers by shape alone and name the first layer it does not fit.

    A wrong depth of filter or width of input is then reported with the name of the layer and both
    numbers, before any training. Covers `nn.Sequential` of any nesting, made of convolutions,
    linear layers, batch norm and layers that take any shape; other modules are run as they are.
    The layers run on copies without storage, so that the check costs no arithmetic and changes no
    state.

    Args:
        module: The layer or stack of layers.
        x: A batch as the model will get it.

    Raises:
        UsageError: A layer wants other channels or features than it gets.
    """
    meta = copy.deepcopy(module).to("meta")
    _walk("", meta, x.to("meta"))


def _walk(path: str, module: nn.Module, x: Tensor) -> Tensor:
    if isinstance(module, nn.Sequential):
        for name, child in module.named_children():
            x = _walk(f"{path}.{name}" if path else name, child, x)
        return x
    _check_layer(path, module, x)
    try:
        result: Any = module(x)
    except (RuntimeError, ValueError) as err:
        raise UsageError(
            f"check_input: {_title(path, module)} cannot take an input of shape"
            f" {tuple(x.shape)} ({err}). Change the layer or what comes before it."
        ) from err
    return result if isinstance(result, Tensor) else x


def _title(path: str, module: nn.Module) -> str:
    return f"layer {path!r}, {module}," if path else f"{module}"


def _check_layer(path: str, module: nn.Module, x: Tensor) -> None:
    if isinstance(module, _CONVS):
        # Without a batch axis the channels come first; PyTorch accepts both forms.
        axis = x.ndim - len(module.kernel_size) - 1
        _compare(path, module, "channels", module.in_channels, x, axis)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        _compare(path, module, "channels", module.num_features, x, 1)
    elif isinstance(module, nn.Linear):
        _compare(path, module, "features", module.in_features, x, x.ndim - 1)


def _compare(path: str, module: nn.Module, what: str, wanted: int, x: Tensor, axis: int) -> None:
    got = x.shape[axis] if 0 <= axis < x.ndim else 0
    if got != wanted:
        raise UsageError(
            f"check_input: {_title(path, module)} takes {wanted} {what}; got {got} in an input of"
            f" shape {tuple(x.shape)}. Build this layer for {got} {what}, or change the one before."
        )


def check_cat(tensors: Sequence[Tensor], dim: int = 0) -> None:
    """Refuse tensors that `torch.cat` cannot join, naming both shapes and the axis that differs.

    Args:
        tensors: What is to be joined.
        dim: Axis to join along; below 0 counts from the end.

    Raises:
        UsageError: There is nothing to join, there is no such axis, or two tensors differ in
            another axis than `dim`.
    """
    if not tensors:
        raise UsageError("check_cat: `tensors` must not be empty; got none. Give at least one.")
    first = tuple(tensors[0].shape)
    if not -len(first) <= dim < len(first):
        raise UsageError(
            f"check_cat: `dim` must lie in {-len(first)} ... {len(first) - 1} for shape {first};"
            f" got {dim}. Use torch.stack for a new axis."
        )
    for number, tensor in enumerate(tensors[1:], start=1):
        shape = tuple(tensor.shape)
        if len(shape) != len(first):
            raise UsageError(
                f"check_cat: `tensors` must have equally many axes; got {first} (tensor 0) and"
                f" {shape} (tensor {number}). Unsqueeze or flatten one of them."
            )
        for axis, (one, other) in enumerate(zip(first, shape, strict=True)):
            if one != other and axis != dim % len(first):
                raise UsageError(
                    f"check_cat: `tensors` must agree in every axis but {dim}; got {first}"
                    f" (tensor 0) and {shape} (tensor {number}), which differ in axis {axis}."
                    " Transpose one, or join along that axis."
                )


def shares_memory(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors view one storage, so that writing into one can change the other.

    True also for views of parts that do not overlap.

    Args:
        one: Such as the result of reshape or transpose.
        other: Such as the tensor that it was made from.
    """
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
