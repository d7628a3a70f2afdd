"""How each kind of surface is measured from runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final, Literal, final

from torch import Tensor, nn

from ...core.errors import UsageError
from ...doctor import (
    LossLine,
    LossPlane,
    PlaneMark,
    interpolation,
    loss_line,
    loss_plane,
    plane_through,
    sandbox,
    trajectory_plane,
)
from ...train import Run
from .._probe._subject import Subject
from ._result import Kind

POINTS: Final[dict[Kind, int]] = {
    "slice": 21,
    "line": 41,
    "trajectory": 21,
    "interpolation": 41,
    "plane": 21,
}
"""Points of each kind, along each of its directions."""

SPANS: Final[dict[Kind, float]] = {
    "slice": 1.0,
    "line": 1.0,
    "trajectory": 0.2,
    "interpolation": 0.5,
    "plane": 0.3,
}
"""How far each kind reaches: from the weights, or beyond what it was laid through."""

_SIDE: Final = 11  # points between two corners of a plane, for the barrier
_LEAST, _MOST = 3, 50  # sets of weights of a trajectory

Weights = Mapping[str, Tensor]


@final
@dataclass(frozen=True, kw_only=True)
class Request:
    """What to measure, and on what.

    Args:
        subject: The first run and its data.
        states: Kept weights of all runs, by name.
        batches: Of the part.
        points: Along each direction.
        span: How far to reach.
        mode: As the model is measured.
        seed: Of directions and dropout noise.
        progress: Called with the points that are done, and all of them.
    """

    subject: Subject
    states: Mapping[str, Weights]
    batches: Any
    points: int
    span: float
    mode: Literal["eval", "train"]
    seed: int
    progress: Callable[[int, int], None] | None

    def measure(
        self, kind: Kind, model: nn.Module
    ) -> tuple[LossLine | LossPlane, dict[str, float]]:
        """Measure; give the losses, and the barrier between each two runs.

        Args:
            kind: What is laid through the weights.
            model: With those of the first run.
        """
        if kind == "slice":
            return self._slice(model), {}
        if kind == "line":
            return self._line(model), {}
        if kind == "trajectory":
            return self._trajectory(model), {}
        if kind == "interpolation":
            first, second = self.states
            line = self._between(model, first, second, self.points, self.span, self.progress)
            return line, {f"{first} to {second}": line.barrier}
        return self._plane(model)

    def _slice(self, model: nn.Module) -> LossPlane:
        found = loss_plane(
            model,
            self.subject.loss,
            self.batches,
            span=self.span,
            points=self.points,
            mode=self.mode,
            seed=self.seed,
            progress=self.progress,
        )
        name = next(iter(self.states))
        labels = ("first random direction", "second random direction")
        here = PlaneMark(name=name, x=0.0, y=0.0, loss=found.centre)
        return replace(found, marks=(here,), labels=labels)

    def _line(self, model: nn.Module) -> LossLine:
        found = loss_line(
            model,
            self.subject.loss,
            self.batches,
            low=-self.span,
            high=self.span,
            points=self.points,
            mode=self.mode,
            seed=self.seed,
            progress=self.progress,
        )
        return replace(found, label="step along a random direction, in filter lengths")

    def _trajectory(self, model: nn.Module) -> LossPlane:
        return trajectory_plane(
            model,
            self.subject.loss,
            self.batches,
            way(self.subject),
            points=self.points,
            margin=self.span,
            mode=self.mode,
            seed=self.seed,
            progress=self.progress,
        )

    def _between(
        self,
        model: nn.Module,
        first: str,
        second: str,
        points: int,
        beyond: float,
        progress: Callable[[int, int], None] | None = None,
    ) -> LossLine:
        found = interpolation(
            model,
            self.subject.loss,
            self.batches,
            self.states[first],
            self.states[second],
            low=-beyond,
            high=1 + beyond,
            points=points,
            mode=self.mode,
            seed=self.seed,
            progress=progress,
        )
        return replace(found, label=f"way from {first} (0) to {second} (1)")

    def _plane(self, model: nn.Module) -> tuple[LossPlane, dict[str, float]]:
        pairs = list(combinations(self.states, 2))
        whole, side = self.points**2, _SIDE
        of = whole + len(pairs) * side

        def after(before: int) -> Callable[[int, int], None] | None:
            tell = self.progress
            return None if tell is None else lambda done, _: tell(before + done, of)

        found = plane_through(
            model,
            self.subject.loss,
            self.batches,
            self.states,
            points=self.points,
            margin=self.span,
            mode=self.mode,
            seed=self.seed,
            progress=after(0),
        )
        barriers = {
            f"{first} to {second}": self._between(
                model, first, second, side, 0.0, after(whole + number * side)
            ).barrier
            for number, (first, second) in enumerate(pairs)
        }
        return found, barriers


def way(subject: Subject) -> dict[str, Weights]:
    """Give the weights that a run went through: its first ones, and those of its checkpoints.

    Of many checkpoints some are left out, evenly.

    Args:
        subject: The run.

    Raises:
        UsageError: There are fewer than three.
    """
    run = subject.run
    kept = run.checkpoints()
    steps = [entry.step for entry in kept.entries() if entry.step > 0]
    # What is given as a module has no other first weights than those it has now.
    anew = not subject.is_module
    if len(steps) + anew < _LEAST:
        raise UsageError(_too_few(run, len(steps), anew))
    if len(steps) > _MOST:
        steps = [steps[k * (len(steps) - 1) // (_MOST - 1)] for k in range(_MOST)]
    found: dict[str, Weights] = {}
    if anew:
        with sandbox():  # to build a model draws weights
            found["step 0"] = subject.first().state_dict()
    return {**found, **{f"step {step:,}": kept.load(step)["model"] for step in steps}}


def _too_few(run: Run, count: int, anew: bool) -> str:
    every = max(1, int(run.result.get("steps") or 10 * _LEAST) // 10)
    have = f"{count} checkpoint{'' if count == 1 else 's'}" + (
        " and the first weights, which follow from the seed" if anew else ""
    )
    return (
        f"surface: `run` must have kept {_LEAST} or more sets of weights on its way for"
        f" --kind trajectory; {run.folder} has {have}. Train again and keep more: fitwell train"
        f" --like {run.folder} --keep-every {every}"
    )
