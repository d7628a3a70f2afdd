"""Run a model once and note what its layers took and gave; name the one that cannot go on."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast, final

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ...train._state import random_state, restore_random
from .._sandbox import copies

Shape = tuple[int, ...]

EXAMPLES: Final = 8
"""How many examples a changed model is tried on."""

_NOTHING: Final = object()


@final
@dataclass
class Step:
    """A call of a module: the first one, if there are more.

    Args:
        taken: Shape of its first input; None if that is no tensor.
        given: Shape of its output; None if that is no tensor.
        args: All inputs.
        kwargs: All named inputs.
        calls: How often it was called.
    """

    taken: Shape | None
    given: Shape | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    calls: int = 1

    @property
    def keeps_shape(self) -> bool:
        """Whether it gives what has the shape of what it takes."""
        return self.taken is not None and self.taken == self.given


def is_dense(module: nn.Module) -> bool:
    """Say whether a module maps vectors by one matrix, as `nn.Linear` does.

    Args:
        module: Any.
    """
    sizes = (getattr(module, "out_features", None), getattr(module, "in_features", None))
    weight = module._parameters.get("weight")
    return weight is not None and tuple(weight.shape) == sizes


def is_conv(module: nn.Module) -> bool:
    """Say whether a module is a convolution of torch.

    Args:
        module: Any.
    """
    return isinstance(module, nn.modules.conv._ConvNd)


def is_layer(module: nn.Module) -> bool:
    """Say whether a module is a layer with weights that decides a width.

    Args:
        module: Any.
    """
    kinds = (nn.Embedding, nn.RNNBase, nn.MultiheadAttention)
    return is_dense(module) or is_conv(module) or isinstance(module, kinds)


def is_norm(module: nn.Module) -> bool:
    """Say whether a module normalizes, going by its name.

    Args:
        module: Any.
    """
    name = type(module).__name__.lower()
    return "norm" in name and not isinstance(module, nn.Sequential)


def trace(owner: str, model: nn.Module, inputs: Any) -> dict[nn.Module, Step]:
    """Run a model in evaluation mode; give the call of each module, in the order they ended.

    Args:
        owner: Who asks, for errors.
        model: Stays as it is.
        inputs: What it takes.

    Raises:
        UsageError: It does not run.
    """
    steps: dict[nn.Module, Step] = {}

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if module in steps:
            steps[module].calls += 1
        else:
            steps[module] = Step(_shape(next(iter(args), None)), _shape(output), args, kwargs)

    handles = [m.register_forward_hook(note, with_kwargs=True) for m in model.modules()]
    try:
        run(owner, model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return steps


def run(owner: str, model: nn.Module, inputs: Any) -> Any:
    """Give the outputs of a model in evaluation mode, with gradients.

    Activations that its modules keep as attributes are put back: with their history they could not
    be copied.

    Args:
        owner: Who asks, for errors.
        model: Stays as it is.
        inputs: What it takes.

    Raises:
        UsageError: It does not run; the message names the module.
    """
    inside: list[str] = []
    names = {module: name for name, module in model.named_modules()}

    def enter(module: nn.Module, _: Any) -> None:
        inside.append(names[module])

    def leave(*_: Any) -> None:
        inside.pop()

    handles = [m.register_forward_pre_hook(enter) for m in names]
    handles += [m.register_forward_hook(leave) for m in names]
    try:
        with _as_is(model, training=False), _forgetting(model):
            return model(inputs)
    except Exception as err:
        if isinstance(err, UsageError) and str(err).startswith(f"{owner}: "):
            raise
        raise refused(owner, model, inside[-1] if inside else "", str(err)) from err
    finally:
        for handle in handles:
            handle.remove()


def refused(owner: str, model: nn.Module, name: str, reason: str) -> UsageError:
    """Give the error for a model that cannot be changed so.

    Args:
        owner: Who asks.
        model: What was to be changed.
        name: Of the module in it; empty for the model itself.
        reason: Why not.
    """
    kind = type(dict(model.named_modules()).get(name, model)).__name__
    where = f"{kind} {name!r}" if name else kind
    first = reason.strip().splitlines()[0] if reason.strip() else "no reason is known"
    return UsageError(f"{owner}: `model` must allow the change; got {where}: {first.rstrip('.')}.")


def prove(owner: str, model: nn.Module, changed: nn.Module, inputs: Any) -> None:
    """Make sure that a changed model gives outputs of the same shape, and trains.

    Args:
        owner: Who asks, for errors.
        model: As it was.
        changed: The other.
        inputs: What both take.

    Raises:
        UsageError: It does not.
    """
    own = copied(owner, model)
    before = [tuple(t.shape) for t in tensors_in(run(owner, own, inputs))]
    after = [tuple(t.shape) for t in tensors_in(run(owner, changed, inputs))]
    if before != after:
        raise refused(owner, model, "", f"its outputs would have shape {after} instead of {before}")
    trial = copied(owner, changed)
    try:
        with _as_is(trial, training=False), torch.no_grad():
            trial(inputs)  # the way that layers of torch take when nothing is to be learned
        with _as_is(trial, training=True):
            outputs = [t for t in tensors_in(trial(inputs)) if t.requires_grad]
            sum(t.float().square().mean() for t in outputs).backward()  # type: ignore[union-attr]
    except Exception as err:
        raise refused(owner, model, "", f"it does not train any more: {err}") from err


def few(inputs: Any) -> Any:
    """Give the first examples.

    Args:
        inputs: Of a batch; what is no tensor stays whole.
    """
    return inputs[:EXAMPLES] if isinstance(inputs, Tensor) else inputs


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Give the tensors of a nest of tuples, lists and mappings.

    Args:
        value: Such as the outputs of a model.
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def redrawn(old: Tensor, shape: Shape, scale: float = 1.0) -> nn.Parameter:
    """Draw numbers like old ones: normal, with their mean and standard deviation times `scale`.

    Args:
        old: A parameter.
        shape: Of the new one.
        scale: What a change of the fan-in asks for.
    """
    plain = old.detach().double()
    mean, std = float(plain.mean()), float(plain.std(correction=0))
    if old.numel() == 1:  # which says how large, but not how spread
        mean, std = 0.0, abs(mean)
    drawn = (torch.randn(shape) * std + mean) * scale
    made = drawn.to(device=old.device, dtype=old.dtype)
    return nn.Parameter(made, requires_grad=old.requires_grad)


def fan_in_scale(old: Shape, new: Shape) -> float:
    """Give what the standard deviation changes by, so that outputs keep their size.

    Args:
        old: Shape of weights, outputs first.
        new: The same of the new ones.
    """
    return math.sqrt(math.prod(old[1:]) / math.prod(new[1:]))


def copied(owner: str, model: nn.Module) -> nn.Module:
    """Give a copy of a model, without the history of what its modules keep.

    Args:
        owner: Who asks, for errors.
        model: Stays as it is.

    Raises:
        UsageError: It cannot be copied.
    """
    try:
        (made,) = copies(model)
    except UsageError as err:
        raise refused(owner, model, "", f"it cannot be copied: {err.__cause__ or err}") from err
    return cast(nn.Module, made)


def put(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """Put a module into the place of another, wherever it stands; give the model.

    Args:
        model: Changed in place, unless it is `old` itself.
        old: A part of it.
        new: What comes there.
    """
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if child is old:
                parent._modules[name] = new
    return new if model is old else model


@contextlib.contextmanager
def _as_is(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Set the mode of a model for a while; modes and random generators are put back."""
    modes = {module: module.training for module in model.modules()}
    kept = random_state()
    model.train(training)
    try:
        with torch.enable_grad():
            yield
    finally:
        restore_random(kept)
        for module, mode in modes.items():
            module.training = mode


@contextlib.contextmanager
def _forgetting(model: nn.Module) -> Iterator[None]:
    """Put back attributes that come to hold tensors with a history."""
    before = {module: dict(vars(module)) for module in model.modules()}
    try:
        yield
    finally:
        for module, kept in before.items():
            for name, value in list(vars(module).items()):
                known = value is kept.get(name, _NOTHING)
                if known or all(tensor.is_leaf for tensor in tensors_in(value)):
                    continue
                if name in kept:
                    vars(module)[name] = kept[name]
                else:
                    del vars(module)[name]


def _shape(value: Any) -> Shape | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None
