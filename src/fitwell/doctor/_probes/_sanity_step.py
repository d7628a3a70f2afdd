"""One step under a magnifying glass: what moves, what has a gradient, what is carried over."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...train._passes import take_step
from .._measure import Loss, Pairs, pairs_of
from .._result import ProbeResult
from .._sandbox import sandbox

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROUNDING: Final = 1e-6
_LATER: Final = 2  # steps

Step = Callable[[nn.Module, Optimizer, Any], Any]
"""``step(model, optimizer, batch)``, a whole step of a training."""


@final
@dataclass(frozen=True, kw_only=True)
class SanityStep(ProbeResult):
    """What one step does to each parameter.

    Args:
        value: Share of the trainable parameters that a step moves; or one of two more steps, if the
            gradient is 0 at first, as behind a branch whose weights begin at 0.
        interval: The same number twice: nothing was drawn.
        control: Share that have a finite gradient above rounding errors.
        found: Whether anything is wrong.
        conclusion: One sentence.
        without_gradient: Trainable parameters that the loss does not reach.
        zero_gradient: Those whose gradient is 0 everywhere, also two steps later.
        nonfinite: Those whose gradient has NaN or infinities.
        not_owned: Trainable ones that the optimizer does not have.
        unmoved: Those with a gradient that the step does not move.
        foreign: How many parameters the optimizer has that are not the model's.
        frozen: Parameters that are not to be trained; no fault.
        carried_over: Gradient of a second step on the same batch over that of the first; 1 if
            gradients are cleared, 2 if they are not.
        training_mode: Whether the model was in training mode during the step; the usual step sets
            it, your own may not.
    """

    without_gradient: tuple[str, ...]
    zero_gradient: tuple[str, ...]
    nonfinite: tuple[str, ...]
    not_owned: tuple[str, ...]
    unmoved: tuple[str, ...]
    foreign: int
    frozen: tuple[str, ...]
    carried_over: float
    training_mode: bool

    def _draw(self, axes: Axes) -> None:
        kinds = {
            "no gradient": self.without_gradient,
            "gradient 0": self.zero_gradient,
            "not finite": self.nonfinite,
            "not in the optimizer": self.not_owned,
            "not moved": self.unmoved,
            "frozen": self.frozen,
        }
        axes.barh(list(kinds), [len(names) for names in kinds.values()], color="tab:blue")
        axes.invert_yaxis()
        axes.set_xlabel("parameters")
        axes.set_xlim(0, max(1, *map(len, kinds.values())))


def sanity_step(
    model: nn.Module,
    loss: Loss,
    optimizer: Optimizer,
    batches: Pairs,
    *,
    step: Step | None = None,
    seed: int = 0,
) -> SanityStep:
    """Take steps on a copy and say of every parameter whether it has a gradient and moves.

    The first look at a new loop; it takes the time of a few steps and sees faults of code at once:
    parameters that the loss does not reach or the optimizer does not have, and with `step` also
    gradients that are not cleared and a model in evaluation mode. Frozen parameters are named, not
    blamed.

    Gradients are compared between two steps on the same batch, with the same noise of torch, NumPy
    and Python, and weights put back in between: the second is the same if they are cleared, twice
    as large if they are not.

    Args:
        model: The one that trains.
        loss: ``loss(outputs, targets)``.
        optimizer: Of the training.
        batches: Pairs of inputs and targets.
        step: A whole step of your own loop, ``step(model, optimizer, batch)``, with clearing,
            backward pass and update; None takes the usual one.
        seed: Of the noise in the model.

    Raises:
        UsageError: There is no batch.

    Checked against: loops with each of the faults planted.
    """
    usual = step is None
    with sandbox(model, loss, optimizer, batches, seed=seed) as (made, criterion, its_own, source):
        take = _usual(criterion) if step is None else step
        if usual:
            made.train()
        batch = pairs_of("sanity_step", source, 1, on=made)[0]
        named = dict(made.named_parameters())
        trained = {name: p for name, p in named.items() if p.requires_grad}
        owned = {id(p) for group in its_own.param_groups for p in group["params"]}
        before = {name: p.detach().clone() for name, p in trained.items()}
        seen = _watched_step(made, its_own, take, batch, seed)
        moved = {name for name, p in trained.items() if not _same(p, before[name])}
        gradients = {name: seen.gradients.get(id(p)) for name, p in trained.items()}
        for _ in range(_LATER):
            late = [name for name, g in gradients.items() if g is not None and not g.any()]
            if not late:
                break
            again = _watched_step(made, its_own, take, batch, seed).gradients
            gradients |= {n: again[id(trained[n])] for n in late if id(trained[n]) in again}
            moved |= {name for name in late if not _same(trained[name], before[name])}
    with sandbox(model, loss, optimizer, seed=seed) as (made, criterion, its_own):
        take = _usual(criterion) if step is None else step
        if usual:
            made.train()
        carried = _carried_over(made, its_own, take, batch, seed)
    without = tuple(name for name, g in gradients.items() if g is None)
    bad = tuple(name for name, g in gradients.items() if g is not None and not g.isfinite().all())
    zero = tuple(name for name, g in gradients.items() if g is not None and not g.any())
    sizes = {
        n: float(g.abs().max()) for n, g in gradients.items() if g is not None and n not in bad
    }
    # Rounding errors, as at a bias that batch norm takes away, need not move anything.
    live = [n for n, size in sizes.items() if size > _ROUNDING * max(sizes.values())]
    total = max(len(trained), 1)
    foreign = len(owned - {id(p) for p in named.values()})
    result = {
        "without_gradient": without,
        "zero_gradient": zero,
        "nonfinite": bad,
        "not_owned": tuple(name for name, p in trained.items() if id(p) not in owned),
        "unmoved": tuple(n for n in live if n not in moved and id(named[n]) in owned),
        "frozen": tuple(name for name, p in named.items() if not p.requires_grad),
    }
    problems = _problems(result, foreign, carried, seen.training, total)
    share = len(moved) / total
    return SanityStep(
        value=share,
        interval=(share, share),
        control=len(live) / total,
        found=bool(problems),
        conclusion=_sentence(problems, len(moved), total),
        foreign=foreign,
        carried_over=carried,
        training_mode=seen.training,
        **result,
    )


@final
class _Seen:
    """Gradients at the moment of an update, and the mode of the forward pass before it."""

    def __init__(self) -> None:
        self.gradients: dict[int, Tensor] = {}
        self.training = True


def _usual(loss: Loss) -> Step:
    def step(model: nn.Module, optimizer: Optimizer, batch: Any) -> None:
        def gradients() -> Tensor:
            value = loss(model(batch[0]), batch[1])
            if value.requires_grad:
                value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.zero_grad()
        gradients()
        take_step(optimizer, gradients)

    return step


def _watched_step(
    model: nn.Module, optimizer: Optimizer, take: Step, batch: Any, seed: int
) -> _Seen:
    """Take a step and look at what the optimizer is given."""
    seen = _Seen()

    def before_update(*_: Any) -> None:
        seen.gradients = {
            id(p): p.grad.detach().clone() for p in model.parameters() if p.grad is not None
        }

    def before_forward(module: nn.Module, _: Any) -> None:
        seen.training = module.training

    handles = [
        optimizer.register_step_pre_hook(before_update),
        model.register_forward_pre_hook(before_forward),
    ]
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
    try:
        take(model, optimizer, batch)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _carried_over(
    model: nn.Module, optimizer: Optimizer, take: Step, batch: Any, seed: int
) -> float:
    """Give the gradient of a second step over that of a first, nothing else being changed."""
    for p in model.parameters():
        p.grad = None
    weights = [p.detach().clone() for p in model.parameters()]
    found = []
    for _ in range(2):
        found.append(_watched_step(model, optimizer, take, batch, seed).gradients)
        with torch.no_grad():
            for p, value in zip(model.parameters(), weights, strict=True):
                p.copy_(value)
    both = [(found[0][key], found[1][key]) for key in found[0] if key in found[1]]
    length = sum(float(one.double().square().sum()) for one, _ in both)
    along = sum(float((one.double() * other.double()).sum()) for one, other in both)
    return along / length if length > 0 else 1.0


def _same(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.detach(), other) or bool(one.isnan().any() and other.isnan().any())


def _problems(
    result: dict[str, tuple[str, ...]], foreign: int, carried: float, training: bool, total: int
) -> list[str]:
    words = {
        "without_gradient": "get no gradient",
        "zero_gradient": "have a gradient of 0",
        "nonfinite": "have a gradient that is not finite",
        "not_owned": "are not in the optimizer",
        "unmoved": "have a gradient and do not move",
    }
    found = [
        f"{len(names)} of {total} parameters {words[kind]} ({', '.join(names[:3])})"
        for kind, names in result.items()
        if kind in words and names
    ]
    if foreign:
        found.append(f"the optimizer has {foreign} parameters that are not the model's")
    if carried > 1.5:
        found.append(f"gradients are not cleared (the second is {carried:.2g} times the first)")
    if not training:
        found.append("the model is in evaluation mode during the step")
    return found


def _sentence(problems: list[str], moved: int, total: int) -> str:
    if problems:
        return f"A step shows faults: {'; '.join(problems)}."
    return f"A step moves {moved} of {total} trainable parameters and clears its gradients."
