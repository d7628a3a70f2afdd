"""`fitwell surface`: measure, and keep a page, a picture and the numbers."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal

from torch import Tensor, nn

from ...core.errors import UsageError
from ...core.files import atomic_path, write_json, write_text
from ...data import Batches, Examples
from ...doctor import LossLine, LossPlane, sandbox
from ...report import render_surface
from ...tasks import ModelChoice
from ...train import Run
from .._open_run import open_run
from .._probe._subject import Subject
from ._measure import POINTS, SPANS, Request
from ._result import Kind, Mode, SurfaceResult

_RUNS: Final[dict[Kind, int]] = {
    "slice": 1,
    "line": 1,
    "trajectory": 1,
    "interpolation": 2,
    "plane": 3,
}
_BY_RUNS: Final[tuple[Kind, ...]] = ("slice", "interpolation", "plane")
_LARGE: Final = 256  # examples per pass at least, where the batch does not matter


def surface(
    run: str | Path | Run,
    other: str | Path | Run | None = None,
    third: str | Path | Run | None = None,
    /,
    *,
    kind: Kind | None = None,
    points: int | None = None,
    span: float | None = None,
    part: Literal["train", "valid"] = "train",
    rows: int = 1_000,
    mode: Mode | None = None,
    seed: int = 0,
    data: Any = None,
    model: ModelChoice | None = None,
    device: str | None = None,
    output: str | Path | None = None,
    quiet: bool = False,
) -> SurfaceResult:
    """Measure the loss around a run, along its way, or between runs, and draw it.

    A `slice` is the plane of two random directions through the kept weights, a `line` of one:
    how wide is the valley? `trajectory` is the plane in which the training moved most, with its
    path. `interpolation` is the line between two runs, and `plane` goes through three: do they lie
    in one basin? A page that can be turned, a picture and the numbers are kept in the run's
    folder. The loss is that of the run, without the penalty or the teacher; nothing of the run is
    changed.

    Args:
        run: Folder of the run; its data are measured on.
        other: Folder of a second run with the same model, for a line between both.
        third: Folder of a third one, for the plane through all.
        kind: What to lay through the weights; left out, `slice` for one run, `interpolation` for
            two and `plane` for three.
        points: Along each direction, 21 of planes and 41 of lines if left out; time goes with the
            square for planes.
        span: How far to go. From the weights in lengths of the filters for `slice` and `line`, 1 if
            left out; else beyond the ends, as a share of what lies between.
        part: Part of the data.
        rows: Examples drawn of it at most.
        mode: `eval` as the model is used; `batch` but with batch norm by the statistics of each
            batch; `train` with fixed dropout noise too. Left out, `eval` for `slice` and `line` and
            `batch` for the others, since moving averages do not fit what lies between weights.
        seed: Of the examples, the directions, and the noise.
        data: The data again, if it was in memory or is somewhere else now.
        model: The model again, for a run of your own module.
        device: Where to compute; where the run was trained if left out.
        output: Folder for the files; ``surface`` in the run's folder if left out.
        quiet: Show no progress.

    Raises:
        RunError: A folder is no run, has no weights, or its data has changed.
        UsageError: An argument is out of range, the runs have different models, or too few weights
            were kept for a trajectory.

    Groups:
        What is measured: kind, points, span, mode, seed
        On what: part, rows, data, model
        Where: device, output, quiet
    """
    started = time.perf_counter()
    runs = [one for one in (run, other, third) if one is not None]
    chosen = _kind(kind, len(runs))
    count = _points(chosen, points)
    reach = _span(chosen, span)
    if part not in ("train", "valid"):
        raise UsageError(f"surface: `part` must be 'train' or 'valid'; got {part!r}.")
    subject = Subject.of(
        run, data, owner="surface", model=model, rows=rows, seed=seed, device=device
    )
    opened = [subject.run, *(open_run(one, model=model) for one in runs[1:])]
    for first, second in combinations(opened, 2):
        _check_alike(first, second)
    states = dict(zip(_names(opened), (one.load_model() for one in opened), strict=True))
    with sandbox():  # to build a model draws weights
        network = subject.trained()
    how = _mode(mode, chosen, network)
    examples = subject.part(part)
    request = Request(
        subject=subject,
        states=states,
        batches=_batches(subject, examples, how, together=how != "eval" and bool(_normed(network))),
        points=count,
        span=reach,
        mode="train" if how == "train" else "eval",
        seed=seed,
        progress=None if quiet or not sys.stderr.isatty() else _progress,
    )
    found, barriers = request.measure(chosen, network)
    _check_finite(found, chosen, reach, subject.run)
    folder = subject.run.folder / "surface" if output is None else Path(output)
    result = SurfaceResult(
        run=subject.run.folder,
        kind=chosen,
        names=tuple(states),
        surface=found,
        barriers=barriers,
        part=part,
        examples=len(examples),
        mode=how,
        seed=seed,
        seconds=time.perf_counter() - started,
        files=tuple(folder / f"{chosen}.{ending}" for ending in ("html", "png", "json")),
        notes=_notes(opened),
    )
    _keep(result)
    return result


def _kind(kind: Kind | None, runs: int) -> Kind:
    chosen = kind or _BY_RUNS[runs - 1]
    if chosen not in _RUNS:
        known = ", ".join(map(repr, _RUNS))
        raise UsageError(f"surface: `kind` must be one of {known}; got {kind!r}.")
    if _RUNS[chosen] != runs:
        wanted = {1: "one run", 2: "two runs", 3: "three runs"}[_RUNS[chosen]]
        fits = [name for name, number in _RUNS.items() if number == runs]
        raise UsageError(
            f"surface: `kind` {chosen!r} is of {wanted}; got {runs}. For {runs} take"
            f" {' or '.join(fits)}."
        )
    return chosen


def _points(kind: Kind, points: int | None) -> int:
    found = POINTS[kind] if points is None else points
    if found < 3:
        raise UsageError(f"surface: `points` must be at least 3; got {found}.")
    if kind in ("slice", "line") and found % 2 == 0:
        raise UsageError(
            f"surface: `points` must be odd for {kind!r}, so that the weights themselves are among"
            f" them; got {found}. Use {found + 1}."
        )
    return found


def _span(kind: Kind, span: float | None) -> float:
    found = SPANS[kind] if span is None else float(span)
    least = kind in ("slice", "line")
    if not (0 < found < float("inf") or (found == 0 and not least)):
        words = "greater than 0" if least else "0 or more"
        raise UsageError(f"surface: `span` must be {words} for {kind!r}; got {span}.")
    return found


def _check_alike(first: Run, other: Run) -> None:
    """Refuse runs between whose weights there is nothing."""
    if first.folder.resolve() == other.folder.resolve():
        raise UsageError(
            f"surface: `run` and the others must be different runs; got {other.folder} twice."
        )
    one, two = (run.settings.model.spec for run in (first, other))
    sizes = [(run.schema.input_shape, run.schema.num_outputs) for run in (first, other)]
    if one != two or sizes[0] != sizes[1]:
        what = "model" if one != two else "inputs and outputs"
        got = (one, two) if one != two else sizes
        raise UsageError(
            f"surface: the runs must have the same {what}; got {got[0]} in {first.folder} and"
            f" {got[1]} in {other.folder}. Give runs that differ in seed or settings alone."
        )


def _names(runs: Sequence[Run]) -> list[str]:
    """Name runs by their folders, with as much of the paths as tells them apart."""
    for parts in (1, 2):
        names = ["/".join(run.folder.resolve().parts[-parts:]) for run in runs]
        if len(set(names)) == len(names):
            return names
    return [str(run.folder.resolve()) for run in runs]


def _mode(mode: Mode | None, kind: Kind, model: nn.Module) -> Mode:
    """Decide how the model is measured, and let go of its moving averages if it is by batches."""
    if mode not in (None, "eval", "batch", "train"):
        raise UsageError(f"surface: `mode` must be 'eval', 'batch' or 'train'; got {mode!r}.")
    normed = _normed(model)
    chosen: Mode = mode or ("eval" if kind in ("slice", "line") or not normed else "batch")
    if chosen == "batch":
        for part in normed:  # torch then takes the statistics of the batch, in `eval` too
            part.running_mean = part.running_var = None
    return chosen


def _normed(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [part for part in model.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]


def _batches(
    subject: Subject, examples: Examples, mode: Mode, *, together: bool
) -> list[tuple[Tensor, Tensor]]:
    """Give mixed batches of about one size, since in some modes they are normalized together."""
    if together and len(examples) < 2:
        raise UsageError(
            f"surface: `rows` must be at least 2 where batch norm takes the statistics of a batch;"
            f" got {len(examples)}. Use more, or --mode eval."
        )
    size = subject.chosen.batch_size
    size = max(2, size) if mode == "train" else max(size, _LARGE)
    count = max(1, min(round(len(examples) / size), len(examples) // 2))
    batches = Batches(
        examples.to(subject.device),
        len(examples),
        shuffle=True,
        seed=subject.seed,
        device=subject.device,
    )
    ((inputs, targets),) = batches
    if targets is None:
        raise UsageError("surface: the part must have targets; got none.")
    return list(zip(inputs.tensor_split(count), targets.tensor_split(count), strict=True))


def _check_finite(found: LossLine | LossPlane, kind: Kind, span: float, run: Run) -> None:
    """Refuse to draw a surface of which nothing is finite."""
    losses = [found.losses] if isinstance(found, LossLine) else found.losses
    if any(math.isfinite(loss) for row in losses for loss in row):
        return
    number = sum(map(len, losses))
    if kind in ("slice", "line", "interpolation"):  # the weights themselves are among the points
        raise UsageError(
            f"surface: `run` must have a finite loss; got {run.folder}, and none of {number:,}"
            f" points has one. Look at it with: fitwell evaluate {run.folder}"
        )
    raise UsageError(
        f"surface: `span` must reach losses that are finite; got {span:g}, and none of {number:,}"
        " points has one. Use a smaller one with --span."
    )


def _notes(runs: Sequence[Run]) -> tuple[str, ...]:
    if len({run.manifest["data"]["fingerprint"] for run in runs}) == 1:
        return ()
    return (f"the runs have different data; these are losses on that of {runs[0].folder}",)


def _progress(done: int, of: int) -> None:
    print(
        f"\r\x1b[K{done:,} of {of:,} points",
        end="\n" if done == of else "",
        file=sys.stderr,
        flush=True,
    )


def _keep(result: SurfaceResult) -> None:
    """Write page, picture and numbers."""
    page, picture, numbers = result.files
    surface = result.surface.to_dict()
    if isinstance(result.surface, LossLine):
        surface["marks"] = [
            {"name": name, "x": float(place), "loss": result.surface.at(float(place))}
            for place, name in enumerate(result.names)
        ]
    text = render_surface(
        surface,
        title=result.title,
        subtitle=result.subtitle,
        facts=result.facts,
        notes=[f"{note[:1].upper()}{note[1:]}." for note in result.notes],
    )
    with atomic_path(picture) as path:
        result.surface.figure().savefig(path, dpi=120, format="png")
    write_text(page, text)
    write_json(numbers, result.to_dict())
