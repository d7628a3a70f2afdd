"""Copies to experiment on, and the proof that the originals stay as they are, bit for bit."""

from __future__ import annotations

import contextlib
import copy
import functools
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.utils.data import Dataset

from ..core.errors import TrainingError, UsageError
from ..data import Examples
from ..train._state import random_state, restore_random
from ._digest import state_digest as state_digest
from ._reached import Copier, lent

Probe = TypeVar("Probe", bound=Callable[..., Any])

_STEP = "_wrapped_by_lr_sched"  # what a schedule of torch marks the `step` that it counts with


@contextlib.contextmanager
def sandbox(*parts: Any, seed: int | None = None) -> Iterator[tuple[Any, ...]]:
    """Lend copies of a training's parts, and leave the originals as they are, bit for bit.

    For experiments in the middle of a training: the copies know each other as the originals do
    (the copied optimizer moves the copied model), and begin where the originals are: weights,
    buffers, gradients, modes, optimizer, schedule, scaler, position of the batches. Torch's,
    NumPy's and Python's random generators go on inside from where they are, or from `seed`, and
    are put back. At the end everything is compared with what it was before.

        with sandbox(model, optimizer, schedule, batches) as (model, optimizer, schedule, batches):
            ...  # train, break, measure

    Rows of data sets are shared, not copied; their generators and positions are their own. A loss
    or hook that reaches a model by its name, for a penalty on the weights, reaches the copy. One
    that writes into something else outside of `parts` still does; give that as a part too. Models
    made by `torch.compile` are run without compilation. An iteration that is under way is not a
    part: give the batches that it came from.

    Args:
        parts: Models, optimizers, schedules, scalers, batches, loaders, generators or anything else
            that can be copied; what belongs together in one call.
        seed: Of the random generators inside; None goes on from their states.

    Raises:
        UsageError: A part cannot be copied.
        TrainingError: A part is not as it was at the end. Of models, weights, gradients, buffers
            and modes were put back then.

    Checked against: `state_digest` before and after, and trainings that go on to the same bits.
    """
    before, kept, saved = state_digest(*parts), random_state(), _saved(parts)
    copied = copies(*parts)
    try:
        if seed is not None:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
        with torch.inference_mode(False), torch.enable_grad():
            yield copied
    finally:
        restore_random(kept)
        changed = state_digest(*parts) != before
        if changed:
            _put_back(saved)
    if changed:
        raise TrainingError(
            "sandbox: an original was changed by the experiment, through something that both share,"
            " such as a hook. Weights, gradients, buffers and modes of models were put back. Give"
            " what is shared as a part."
        )


def uncompiled(part: Any) -> Any:
    """Give the model that was compiled, if it was, whose parameters have their own names.

    Args:
        part: A model, or anything else.
    """
    return getattr(part, "_orig_mod", part)


def undisturbed(probe: Probe) -> Probe:
    """Let a probe of data leave the random generators as they were.

    Importing scikit-learn for the first time draws from Python's.

    Args:
        probe: The function.
    """

    @functools.wraps(probe)
    def asked(*args: Any, **kwargs: Any) -> Any:
        with sandbox():
            return probe(*args, **kwargs)

    return cast(Probe, asked)


def copies(*parts: Any) -> tuple[Any, ...]:
    """Copy all parts at once, so that what they share is shared by the copies.

    Tensors with a history that a module keeps are copied without it.

    Args:
        parts: As for `sandbox`.

    Raises:
        UsageError: A part cannot be copied.
    """
    memo: dict[int, Any] = {}
    plain = tuple(uncompiled(part) for part in parts)
    within = list(_within(plain))
    for part in within:
        _prepare(part, memo)
    try:
        for part in within:
            if isinstance(part, Optimizer):
                _copy_optimizer(part, memo)
        copier = Copier(memo)
        made: tuple[Any, ...] = copier.parts(copy.deepcopy(plain, memo))
    except (TypeError, RuntimeError, NotImplementedError) as err:
        raise UsageError(
            f"sandbox: `parts` must be such that copy.deepcopy can copy them; got {err}."
            " Give the batches instead of an iteration over them, and leave out what is open."
        ) from err
    for part in within:
        if isinstance(part, nn.Module):
            _complete(part, memo)
            copier.within(memo[id(part)])
        elif hasattr(part, "batch_size") and hasattr(part, "load_state_dict"):
            memo[id(part)].load_state_dict(part.state_dict())
    return made


def _complete(model: nn.Module, memo: dict[int, Any]) -> None:
    """Give the copies of parameters their gradients, which `copy.deepcopy` leaves out."""
    made = memo.get(id(model))
    found = {} if made is None else dict(made.named_parameters(remove_duplicate=False))
    for name, p in model.named_parameters(remove_duplicate=False):
        other = found.get(name)
        if other is None or other is p or memo.get(id(p), other) is not other:
            raise UsageError(
                f"sandbox: `parts` must be such that copy.deepcopy can copy them; got a"
                f" {type(model).__name__} whose copy has not a copy of {name}. Hand the memo on in"
                " its __deepcopy__."
            )
        other.grad = None if p.grad is None else p.grad.detach().clone()


def _saved(parts: tuple[Any, ...]) -> list[Callable[[], None]]:
    """Give what puts models back, from main memory."""
    found: list[Callable[[], None]] = []
    for part in _within(parts):
        if isinstance(part, nn.Module):
            tensors = [t for t in (*part.parameters(), *part.buffers()) if not is_lazy(t)]
            found += [functools.partial(_put_tensor_back, t, *_kept(t)) for t in tensors]
            for module in part.modules():
                found.append(functools.partial(setattr, module, "training", module.training))
    return found


def _kept(tensor: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, bool]:
    grad = tensor.grad if tensor.is_leaf else None
    values = tensor.detach().to("cpu", copy=True)
    slopes = None if grad is None else grad.detach().to("cpu", copy=True)
    return values, grad, slopes, tensor.requires_grad


def _put_tensor_back(
    tensor: Tensor, values: Tensor, grad: Tensor | None, slopes: Tensor | None, trained: bool
) -> None:
    tensor.data.copy_(values)
    if tensor.is_leaf:
        tensor.requires_grad_(trained)
        if grad is not None and slopes is not None:
            grad.data.copy_(slopes)
        tensor.grad = grad


def _put_back(saved: list[Callable[[], None]]) -> None:
    with torch.no_grad():
        for put in saved:
            put()


def _within(part: Any) -> Iterator[Any]:
    """Give a part and the parts in it."""
    yield part
    if isinstance(part, (list, tuple)):
        for item in part:
            yield from _within(item)
    elif isinstance(part, Mapping):
        for item in part.values():
            yield from _within(item)
    elif hasattr(part, "optimizer"):  # of a schedule, or wrapped
        yield from _within(part.optimizer)


def _prepare(part: Any, memo: dict[int, Any]) -> None:
    """Note what is not to be copied as it is: data, tensors with a history, running workers."""
    if isinstance(part, nn.Module):
        for module in part.modules():
            for value in _tensors(list(vars(module).values())):
                if not value.is_leaf:
                    memo[id(value)] = value.detach().clone()
        return
    if isinstance(part, (Dataset, Examples)):
        lent(part, memo)
    for name in ("dataset", "examples"):
        data = getattr(part, name, None)
        if data is not None:
            lent(data, memo)
    running = getattr(part, "_iterator", None)
    if running is not None:
        memo[id(running)] = None


def _tensors(held: Any) -> Iterator[Tensor]:
    """Give the tensors in nested lists and dicts."""
    if isinstance(held, Tensor):
        yield held
    elif isinstance(held, (list, tuple, dict)):
        for item in held.values() if isinstance(held, dict) else held:
            yield from _tensors(item)


def _copy_optimizer(optimizer: Optimizer, memo: dict[int, Any]) -> None:
    """Copy an optimizer with all attributes; torch's own way keeps only some of them.

    The `step` that a schedule of torch has put there steps the original: it is made anew.
    """
    if id(optimizer) in memo:
        return
    made = memo[id(optimizer)] = object.__new__(type(optimizer))
    for name, value in vars(optimizer).items():
        if isinstance(value, Optimizer):
            _copy_optimizer(value, memo)
        if not (name == "step" and hasattr(value, _STEP)):
            made.__dict__[name] = copy.deepcopy(value, memo)
    if hasattr(optimizer.step, _STEP):
        step: Any = type(made).step

        @functools.wraps(step)
        def counted(*args: Any, **kwargs: Any) -> Any:
            made._opt_called = True  # type: ignore[attr-defined]
            return step(made, *args, **kwargs)

        setattr(counted, _STEP, True)
        made.step = counted  # type: ignore[method-assign]
