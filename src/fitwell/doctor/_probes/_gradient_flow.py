"""Does the gradient reach the first layers and the first steps, and does it stay finite?

B batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final, final

from torch import Tensor, nn

from ...core.errors import UsageError
from ...core.intervals import slope_interval
from .._measure import Loss, Pairs, mean_interval, pairs_of
from .._result import Interval, ProbeResult
from .._sandbox import sandbox
from ._traced import DEPTH, Path, remake, trace

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FEWEST: Final = 4  # parts whose spread gives the interval
_RANK: Final = {True: 2, None: 1, False: 0}
_SMALLEST: Final = 1e-300  # stands for 0 in logarithms


@final
@dataclass(frozen=True, kw_only=True)
class GradientFlow(ProbeResult):
    """How the norm of the gradient changes on its way back.

    Args:
        value: Gradient at the first layer or step over that at the last one that gets any, a
            geometric mean over batches; of the path where it is farthest from 1, among those that
            are outside of `limit`, or may be, if there are any. In time, both the whole gradient
            and the part of it that the recurrence carries back from the last step must have changed
            so much.
        interval: 95% interval of `value`, over batches.
        control: The same for orthogonal weights that keep the spread of the outputs, in the same
            architecture.
        found: Whether the gradient vanishes or explodes on any path; None if the evidence does not
            say of each that it does not.
        conclusion: One sentence.
        path: ``depth``, or the name of the recurrent layer whose steps `value` is of.
        factor: By what the gradient is multiplied from a layer or step to the one before it, by a
            straight line through the logarithms; in time, of the part that is carried back.
        factor_interval: 95% interval of `factor`, from the scatter around that line.
        norms: Along each path, the gradient at each layer or step from the first to the last; None
            where it does not come.
        carried: In time, the part of it that is carried back from the last step.
        layers: Names of the layers of ``depth``, in the order in which they run.
        remade: As `norms`, for the weights of the control.
        first_nonfinite: The last layer or step whose gradient is not finite, where it began on its
            way back; None if all are finite.
    """

    path: str
    factor: float
    factor_interval: Interval
    norms: dict[str, tuple[float | None, ...]]
    carried: dict[str, tuple[float | None, ...]]
    layers: tuple[str, ...]
    remade: dict[str, tuple[float | None, ...]]
    first_nonfinite: str | None

    def _draw(self, axes: Axes) -> None:
        for number, (name, norms) in enumerate(self.norms.items()):
            what = "layers" if name == DEPTH else "steps"
            color = f"C{number % 10}"
            _draw_path(axes, norms, color, "-", f"{name}, {len(norms)} {what}")
            _draw_path(axes, self.remade.get(name, ()), color, ":", None)
        if not axes.lines:
            return
        if any(line.get_linestyle() == ":" for line in axes.lines):
            axes.plot([], [], color="gray", linestyle=":", label="orthogonal weights")
        axes.set_yscale("log")
        axes.set_xticks([0, 1], ["first", "last"])
        axes.set_xlabel("layer or step")
        axes.set_ylabel("norm of the gradient")
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_path(
    axes: Axes, norms: Sequence[float | None], color: str, style: str, label: str | None
) -> None:
    last = max(len(norms) - 1, 1)
    seen = [(i / last, n) for i, n in enumerate(norms) if n is not None and 0 < n < math.inf]
    if seen:
        marker = "." if style == "-" and len(norms) < 60 else ""
        axes.plot(*zip(*seen, strict=True), style, color=color, marker=marker, label=label)


def gradient_flow(
    model: nn.Module,
    loss: Loss,
    batches: Pairs,
    *,
    limit: float = 1e3,
    most: int = 8,
    seed: int = 0,
) -> GradientFlow:
    """Follow the gradient back through layers and through time: does it vanish, does it explode?

    When the training loss does not fall, or jumps, in a deep or a recurrent network. Norms are
    those of the gradient with respect to the output of every layer with a matrix of weights, in
    the order in which layers run, and with respect to the whole state after every step (of an LSTM
    hidden state and cell together) of `nn.RNN`, `nn.LSTM`, `nn.GRU` and of modules that are called
    in a loop. They are exact: on the copy, recurrent layers are computed as loops.

    With orthogonal weights the same architecture is measured again. If that is well, the initial
    weights are the fault. If not, the architecture is: then fewer layers or steps, residual
    connections, normalization, another activation, or gates help.

    It takes two forward and backward passes per batch, with all steps of a recurrence in memory and
    computed one by one, and one orthogonal decomposition of each matrix of weights.

    A loss at every step sends a gradient into each of them, which hides what comes from far: give a
    loss of the last step alone to see how far that one reaches.

    Args:
        model: As it is, before or during training; measured in training mode.
        loss: ``loss(outputs, targets)``.
        batches: Pairs of inputs and targets; fewer than four are cut into parts.
        limit: Gradients at both ends may differ by this factor: with one learning rate, the end
            with the smaller one takes as many times longer.
        most: Batches that are looked at.
        seed: Of the noise in the model and of the orthogonal weights.

    Raises:
        UsageError: There is no batch, or `limit` is not above 1.

    Source: bengio1994learning; pascanu2013difficulty; mishkin2016all.
    Checked against: autograd on hand-written loops; deep linear networks and recurrences whose
        factor is known.
    """
    if not limit > 1:
        raise UsageError(f"gradient_flow: `limit` must be above 1; got {limit}. Leave it out.")
    with sandbox(batches) as (source,):
        pairs = _parts(pairs_of("gradient_flow", source, most, on=model))
    with sandbox(model, loss, seed=seed) as (made, criterion):
        made.train()
        runs = [trace(made, criterion, *pair) for pair in pairs]
    with sandbox(model, loss, seed=seed) as (made, criterion):
        made.train()
        remake(made, runs[0], pairs[0][0])
        remade = [trace(made, criterion, *pair) for pair in pairs]
    return _concluded(runs, remade, limit)


def _parts(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Cut batches into parts, if there are few and they are tensors with examples enough."""
    if len(pairs) >= _FEWEST or not all(isinstance(x, Tensor) for pair in pairs for x in pair):
        return pairs
    cuts = -(-_FEWEST // len(pairs))
    if min(len(inputs) for inputs, _ in pairs) < 2 * cuts:
        return pairs
    return [
        part
        for inputs, targets in pairs
        for part in zip(inputs.chunk(cuts), targets.chunk(cuts), strict=True)
    ]


@final
@dataclass(frozen=True, kw_only=True)
class _Along:
    """One path over all batches."""

    path: Path
    value: float
    interval: Interval
    factor: float
    factor_interval: Interval
    nonfinite: str | None

    @property
    def size(self) -> float:
        """How far from 1 the ratio is."""
        return math.inf if self.nonfinite else abs(_log(self.value))

    def bad(self, limit: float) -> bool | None:
        """Say whether the gradient vanishes or explodes along this path."""
        low, high = self.interval
        if self.nonfinite or high < 1 / limit or low > limit:
            return True
        return False if low >= 1 / limit and high <= limit else None


def _log(value: float) -> float:
    return math.log(max(value, _SMALLEST))


def _ends(norms: Sequence[float | None]) -> tuple[int, int]:
    """Give the first place that a gradient reached, and the last one where it is not 0."""
    reached = [i for i, norm in enumerate(norms) if norm is not None]
    live = [i for i in reached if norms[i] != 0]
    return reached[0], (live or reached)[-1]


def _change(path: Path) -> float:
    """Give the logarithm of first over last: of both gradients, the smaller change."""
    changes = []
    for norms in (path.norms, path.carried):
        first, last = _ends(norms)
        changes.append(_log(norms[first] or 0.0) - _log(norms[last] or 0.0))
    one, other = changes
    return 0.0 if one * other <= 0 else min(changes, key=abs)


def _means(columns: Sequence[Sequence[float | None]]) -> tuple[float | None, ...]:
    """Give geometric means over batches; sequences of other lengths are laid end to end."""
    length = max(map(len, columns))
    padded = [(*(None,) * (length - len(column)), *column) for column in columns]
    rows = [[norm for norm in row if norm is not None] for row in zip(*padded, strict=True)]
    return tuple(_mean(row) if row else None for row in rows)


def _mean(row: Sequence[float]) -> float:
    return math.exp(fmean(map(math.log, row))) if all(row) else 0.0


def _along(paths: Sequence[Path]) -> _Along:
    """Put the batches together."""
    longest = max(paths, key=lambda path: len(path.norms))
    joined = Path(
        longest.name,
        longest.places,
        _means([path.norms for path in paths]),
        _means([path.carried for path in paths]),
    )
    places = zip(joined.places, joined.norms, strict=True)
    ill = [place for place, norm in places if norm is not None and not math.isfinite(norm)]
    if ill:
        return _Along(
            path=joined,
            value=math.inf,
            interval=(0.0, math.inf),
            factor=math.inf,
            factor_interval=(0.0, math.inf),
            nonfinite=ill[-1],
        )
    middle, (low, high) = mean_interval([_change(path) for path in paths])
    factor, factor_interval = _line(joined.carried)
    return _Along(
        path=joined,
        value=_exp(middle),
        interval=(_exp(low), _exp(high)),
        factor=factor,
        factor_interval=factor_interval,
        nonfinite=None,
    )


def _exp(value: float) -> float:
    """Undo `_log`, for which 0 is a very small number."""
    return 0.0 if value < -600 else math.exp(value) if value < 700 else math.inf


def _line(norms: Sequence[float | None]) -> tuple[float, Interval]:
    """Fit a straight line to the logarithms; give the factor from one place to the one before."""
    points = {place: math.log(norm) for place, norm in enumerate(norms) if norm}
    if len(points) < 2:
        return 1.0, (0.0, math.inf)
    slope, (low, high) = slope_interval(list(points), list(points.values()))
    return _exp(-slope), (_exp(-high), _exp(-low))


def _together(runs: list[list[Path]]) -> dict[str, _Along]:
    names = dict.fromkeys(path.name for run in runs for path in run)
    return {n: _along([path for run in runs for path in run if path.name == n]) for n in names}


def _concluded(runs: list[list[Path]], remade_runs: list[list[Path]], limit: float) -> GradientFlow:
    found, remade = _together(runs), _together(remade_runs)
    common: dict[str, Any] = {
        "norms": {name: along.path.norms for name, along in found.items()},
        "carried": {n: a.path.carried for n, a in found.items() if n != DEPTH},
        "layers": found[DEPTH].path.places if DEPTH in found else (),
        "remade": {name: along.path.norms for name, along in remade.items()},
    }
    if not found:
        return GradientFlow(
            value=1.0,
            interval=(0.0, math.inf),
            control=1.0,
            found=None,
            conclusion="Insufficient evidence: the loss reaches fewer than two layers or steps.",
            path=DEPTH,
            factor=1.0,
            factor_interval=(0.0, math.inf),
            first_nonfinite=None,
            **common,
        )
    worst = max(found.values(), key=lambda along: (_RANK[along.bad(limit)], along.size))
    name = worst.path.name
    control = remade[name].value if name in remade else 1.0
    bad, sentence = _judged(worst, [along.path for along in found.values()], control, limit)
    return GradientFlow(
        value=worst.value,
        interval=worst.interval,
        control=control,
        found=bad,
        conclusion=sentence,
        path=name,
        factor=worst.factor,
        factor_interval=worst.factor_interval,
        first_nonfinite=worst.nonfinite,
        **common,
    )


def _where(path: Path) -> str:
    count = len(path.norms)
    return f"{count} layers" if path.name == DEPTH else f"{count} steps of {path.name}"


def _judged(
    worst: _Along, paths: Sequence[Path], control: float, limit: float
) -> tuple[bool | None, str]:
    name, where = worst.path.name, _where(worst.path)
    if worst.nonfinite:
        place = worst.nonfinite if name == DEPTH else f"step {worst.nonfinite} of {name}"
        return True, f"The gradient is not finite at {place}, and so from there back to the inputs."
    low, high = worst.interval
    bad = worst.bad(limit)
    if bad:
        well = control >= 1 / limit if high < 1 else control <= limit
        start = f"The gradient {'vanishes' if high < 1 else 'explodes'} over {where}"
        start += ": its weights are the fault" if well else ", also with orthogonal weights"
    elif bad is False:
        start = f"The gradient keeps its size over {' and '.join(map(_where, paths))}"
    else:
        start = f"Insufficient evidence how the gradient changes over {where}"
    low_factor, high_factor = worst.factor_interval
    unit = "layer" if name == DEPTH else "step"
    numbers = (
        f"first over last {worst.value:.2g}, 95% interval {low:.2g} to {high:.2g};"
        f" {worst.factor:.3g} per {unit}, {low_factor:.3g} to {high_factor:.3g};"
        f" with orthogonal weights {control:.2g}"
    )
    return bad, f"{start} ({numbers})."
