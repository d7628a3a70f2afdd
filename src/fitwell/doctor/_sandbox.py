"""Copies to experiment on, and the proof that the originals stay as they are, bit for bit."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, MethodType
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import Dataset

from ..core.errors import TrainingError, UsageError
from ..data import Examples
from ..train._state import random_state, restore_random

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

    Data sets are shared, not copied. Models made by `torch.compile` are run without compilation. A
    hook or loss that writes into something outside of `parts` still does; give that as a part too.
    An iteration that is under way is not a part: give the batches that it came from.

    Args:
        parts: Models, optimizers, schedules, scalers, batches, loaders, generators or anything else
            that can be copied; what belongs together in one call.
        seed: Of the random generators inside; None goes on from their states.

    Raises:
        UsageError: A part cannot be copied.
        TrainingError: A part is not as it was at the end.

    Checked against: `state_digest` before and after, and trainings that go on to the same bits.
    """
    before = state_digest(*parts)
    kept = random_state()
    copies = _copies(parts)
    try:
        if seed is not None:
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            random.seed(seed)
        with torch.inference_mode(False), torch.enable_grad():
            yield copies
    finally:
        restore_random(kept)
    if state_digest(*parts) != before:
        raise TrainingError(
            "sandbox: an original was changed by the experiment, through something that both share,"
            " such as a hook. Give what is shared as a part."
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


def state_digest(*parts: Any) -> str:
    """Give a SHA-256 over all that a training depends on: equal only for states equal to the bit.

    Values, gradients and flags of tensors; buffers, modes and hooks of modules; states and
    settings of optimizers, schedules, loaders and generators; torch's, NumPy's and Python's random
    generators. Contents of data sets are left out.

    Args:
        parts: As for `sandbox`.
    """
    digest = hashlib.sha256()
    seen: dict[int, int] = {}
    alive: list[Any] = []  # an id is only one's own while its object lives
    for part in (random_state(), *parts):
        _add(digest, part, seen, alive)
    return digest.hexdigest()


def _copies(parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """Copy all parts at once, so that what they share is shared by the copies."""
    memo: dict[int, Any] = {}
    plain = tuple(uncompiled(part) for part in parts)
    within = list(_within(plain))
    for part in within:
        _prepare(part, memo)
    try:
        for part in within:
            if isinstance(part, Optimizer):
                _copy_optimizer(part, memo)
        copies = copy.deepcopy(plain, memo)
    except (TypeError, RuntimeError, NotImplementedError) as err:
        raise UsageError(
            f"sandbox: `parts` must be such that copy.deepcopy can copy them; got {err}."
            " Give the batches instead of an iteration over them, and leave out what is open."
        ) from err
    for part in within:
        if isinstance(part, nn.Module):
            for p in part.parameters():  # whose copies come without gradients
                memo[id(p)].grad = None if p.grad is None else p.grad.detach().clone()
        elif hasattr(part, "batch_size") and hasattr(part, "load_state_dict"):
            memo[id(part)].load_state_dict(part.state_dict())
    return copies


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
            for value in vars(module).values():
                if isinstance(value, Tensor) and not value.is_leaf:
                    memo[id(value)] = value.detach().clone()
    for name in ("dataset", "examples"):
        data = getattr(part, name, None)
        if isinstance(data, (Dataset, Examples, Tensor, list, tuple)):
            memo[id(data)] = data
    running = getattr(part, "_iterator", None)
    if running is not None:
        memo[id(running)] = None


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


def _add(digest: Any, value: Any, seen: dict[int, int], alive: list[Any]) -> None:
    """Take in a value; what was seen before as the place where it was."""
    if isinstance(value, (str, int, float, bool, bytes, type(None), torch.dtype, torch.device)):
        digest.update(f"{type(value).__name__}{value!r};".encode())
        return
    if id(value) in seen:
        digest.update(f"again{seen[id(value)]};".encode())
        return
    seen[id(value)] = len(seen)
    alive.append(value)
    digest.update(f"{type(value).__qualname__}:".encode())
    for item in _parts_of(value):
        _add(digest, item, seen, alive)
    digest.update(b";")


def _parts_of(value: Any) -> Iterator[Any]:
    """Give what a value consists of."""
    if isinstance(value, Tensor):
        plain = value.detach().cpu().contiguous().reshape(-1)
        yield str((value.dtype, tuple(value.shape), value.device, value.requires_grad))
        yield plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
        yield value.grad if value.is_leaf else None
    elif isinstance(value, nn.Module):
        for name, module in value.named_modules():
            yield from (name, type(module).__qualname__, module.training)
            for kind, held in vars(module).items():
                if kind.endswith("_hooks"):
                    yield from (kind, list(held.values()))
                elif kind in ("_parameters", "_buffers") or isinstance(held, Tensor):
                    yield from (kind, held)
                elif isinstance(held, (int, float, str, bool, torch.Generator)):
                    yield from (kind, held)
    elif isinstance(value, Optimizer):
        yield from sorted(vars(value).items())
    elif isinstance(value, torch.Generator):
        yield value.get_state()
    elif isinstance(value, np.random.Generator):
        yield repr(value.bit_generator.state)
    elif isinstance(value, np.ndarray):
        yield value.tobytes()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (key, item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
    elif isinstance(value, (Dataset, Examples)):
        yield id(value)
    elif hasattr(value, "state_dict"):
        yield value.state_dict()
    elif isinstance(value, (type, FunctionType)):
        yield value.__qualname__
    elif isinstance(value, MethodType):
        yield from (value.__func__, value.__self__)
    elif hasattr(value, "__dict__"):
        yield from vars(value).items()
