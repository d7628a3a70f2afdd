"""The verb `crossval`: train on all but one fold, each in turn, and say how sure the score is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, final

from ...core.errors import UsageError
from ...core.files import finite
from ...core.text import aligned
from ...data import BUILTIN
from ...train import Combine, Run
from .._train import Split
from ._fold_answers import FoldAnswers, write_fold_answers
from ._folds import Folds
from ._group import Group, refuse_group
from ._members import Launch, begin_group, group_folder, train_members, typed
from ._nested import Candidates, choose
from ._options import check_lent, with_training_options
from ._outputs import Together, check_fits, headline_metric
from ._page import write_group_page
from ._pool import Pool
from ._spread import Spread, spreads
from ._together import arguments, data_for, sessions

_MOST: Final = 500
"""Trainings of one cross-validation; more is a mistake, such as leaving one of thousands out."""


@final
@dataclass(frozen=True, kw_only=True)
class CrossvalResult:
    """What a cross-validation found.

    Args:
        group: The folder of it; the members are runs in ``members/fold-1`` and so on.
        mode: How the rows were dealt.
        folds: Number of folds.
        repeats: How often they were dealt.
        metric: The metric that stands for the model.
        scores: Every metric on the held-out rows, fold by fold; the loss is that of the first fold
            for all.
        out_of_fold: Metrics over all held-out rows at once, averaged over repeats.
        test: The members alone and together on the test part, if there is one.
        nested: Which candidate each fold chose, and what it scored inside, if there were any.
        honest: Whether the held-out rows had no say in which epoch was kept.
        rows: How many were dealt.
        notes: What to know about the folds.
    """

    group: Group
    mode: str
    folds: int
    repeats: int
    metric: str
    scores: Mapping[str, Spread]
    out_of_fold: Mapping[str, float]
    test: Together | None
    nested: Mapping[str, Any] = field(default_factory=dict)
    honest: bool = True
    rows: int = 0
    notes: tuple[str, ...] = ()

    @property
    def leaves_one_out(self) -> bool:
        """Whether each fold is a single row, so that the score of all rows is what counts."""
        return self.rows == self.folds

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, ready for JSON."""
        scores = {metric: spread.to_dict() for metric, spread in self.scores.items()}
        test = None if self.test is None else self.test.to_dict()
        plain = {**vars(self), "group": str(self.group.folder), "scores": scores, "test": test}
        found: dict[str, Any] = finite(plain)
        return found

    @property
    def result(self) -> dict[str, Any]:
        """All fields as plain data, as `Group.result` has them."""
        return self.to_dict()

    def __str__(self) -> str:
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        lines = [f"group    {self.group.folder}: {self.folds} folds{times}, {self.mode}", ""]
        names = sorted(self.scores, key=lambda name: name != self.metric)  # what counts comes first
        rows = [
            [name, *map(_number, (found.mean, found.std, *(found.interval or (None, None))))]
            for name, found in ((name, self.scores[name]) for name in names)
        ]
        numbers = "  ".join(f"{name} {value:.4g}" for name, value in self.out_of_fold.items())
        pooled = f"rows     {numbers}"
        if self.leaves_one_out:
            pooled += f"  (all {self.rows:,} at once; a fold is a single row)"
            lines += [pooled, ""]
        lines += [aligned(["held out", "mean", "std", "95% from", "to"], rows), ""]
        if len(self.scores[self.metric].values) <= 20:
            values = "  ".join(map(_number, self.scores[self.metric].values))
            lines.append(f"folds    {self.metric} {values}")
        if not self.leaves_one_out:
            lines.append(pooled)
        if self.test is not None:
            lines.append(str(self.test))
        if self.nested:
            chosen = ", ".join(f"{c} ({n})" for c, n in self.nested["chosen"].items())
            lines.append(f"chosen   {chosen}; inside {self.nested['inside']:.4g}")
        lines += [f"note     {note}" for note in self.notes]
        if not self.honest:
            lines.append("note     the held-out rows chose the epoch too, which flatters a little")
        page = self.group.folder / "report.html"
        return "\n".join([*lines, *([f"report   {page}"] if page.exists() else [])])


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"


@with_training_options
def crossval(
    source: Any = None,
    path: str | Path | None = None,
    /,
    *,
    folds: int = 5,
    repeats: int = 1,
    split: Split | None = None,
    inner: float = 0.1,
    nested: int = 0,
    candidates: Sequence[str] = (),
    combine: Combine = "probs",
    workers: int = 1,
    cluster: str | None = None,
    group: str | Path | None = None,
    resume: bool = False,
    report: bool = True,
    quiet: bool = False,
    **training: Any,
) -> CrossvalResult:
    """Hold out each fold once, train on the others, and give the score with its interval.

    Training and validation part are merged and dealt to folds; the test part stays out, and is
    measured by every member and by their average. Each member is a run of its own. Scores of folds
    are not independent, so the interval is that of the corrected resampled t-test (Nadeau and
    Bengio 2003), which is wider than the usual one.

    To choose among settings and still have a score that no choice has flattered, name them as
    candidates with --nested: each fold then chooses by folds of its own training rows.

    Args:
        source: As for `train`; or the folder of a run, whose data and settings are taken over.
        path: As for `train`.
        folds: How many; as many as there are rows leave one out each time.
        repeats: How often the rows are dealt anew.
        split: How rows are dealt to folds and to the test part; `grouped` and `by_time` go by the
            column split_by.
        inner: Share of a fold's training rows that its epoch is chosen by, so that held-out rows
            have no say in it; 0 trains on all of them and lets the held-out rows choose.
        nested: Folds inside each fold that candidates are compared by; 0 compares none.
        candidates: Settings to choose among, such as `lr=0.01, model=MLP(hidden=(64,))`.
        combine: What members average on the test part: probabilities, logits, or votes.
        workers: Processes that each train a part of the members.
        cluster: Address of a Ray cluster to start the processes on; this machine if left out.
        group: Folder of the result; a new one in runs/ if left out.
        resume: Go on with a group that was stopped: finished members stay, all others start anew.
        report: Whether report.html is written at the end.
        quiet: Show no progress.

    Raises:
        UsageError: An argument does not fit; nothing was written.
        DataError: The data is bad; nothing was written.
        RunError: The folder of the group holds something else, or a loss became infinite.

    Groups:
        Folds: folds, repeats, split, inner, nested, candidates
        Result: combine, workers, cluster, group, resume, report, quiet
    """
    check_lent("crossval", training)
    check_fits("crossval", combine)
    own: dict[str, Any] = {"folds": folds, "repeats": repeats, "split": split, "inner": inner}
    own |= {"nested": nested, "candidates": list(candidates), "combine": combine}
    if not 0 <= inner < 1:
        raise UsageError(f"crossval: `inner` must lie in [0, 1); got {inner}. Use 0.1.")
    if resume and group is None:
        raise UsageError(
            "crossval: `group` must name the folder that `resume` goes on with; got None."
        )
    chooser = Candidates.of(candidates, nested)
    trainings = folds * repeats * (1 + len(chooser.settings) * nested)
    if trainings > _MOST:
        raise UsageError(
            f"crossval: `folds` must make at most {_MOST} trainings; got {trainings}. Use 5 or 10"
            " folds."
        )
    refuse_group("crossval", source)
    launch = Launch(workers=workers, cluster=cluster, quiet=quiet)
    given = arguments(source, path, {**training, "split": split})
    _check_split(split, given)
    data = data_for(given)
    check_fits("crossval", combine, data.splits.schema)
    pool = Pool.of(data, split, int(data.reader.get("seed", 0)))
    plan = pool.folds(folds, repeats)
    words = typed(crossval, {"source": source, "path": path, **own, **training})
    made = Folds(given=given, data=data, pool=pool, plan=plan, inner=inner)
    folder = group_folder(group, data, "crossval")
    members = sessions(given, data, made.variations([{}] * len(plan)), folder)  # checks settings
    chooser.check(made, folder)
    found = begin_group(
        folder,
        "crossval",
        words,
        {
            **own,
            "mode": pool.mode,
            "data": data.path or data.name,
            "fingerprint": pool.examples.fingerprint,
            "training": members[0].run.settings.to_dict(),
        },
        resume,
    )
    found.update(status="running", combine=combine)
    choice = choose(chooser, made, found, launch, members[0].run)
    if choice.settings:
        members = sessions(given, data, made.variations(choice.settings), folder)
    runs = train_members(members, launch)
    answers = write_fold_answers(found, runs, pool, plan, folds, combine)
    result = _result(found, runs, answers, made, own, choice.facts(headline_metric(runs[0])))
    found.update(status="finished", result=result.to_dict())
    if report:
        write_group_page(found)
    return result


def _check_split(split: str | None, given: Mapping[str, Any]) -> None:
    by_column = split in ("grouped", "by_time") and given["like"] is None
    named = isinstance(given["source"], str) and given["source"] in BUILTIN
    if by_column and given["split_by"] is None and not named:
        raise UsageError(
            f"crossval: `split_by` must name the column that --split {split} goes by; got None. Add"
            " --split-by COLUMN."
        )


def _result(
    group: Group,
    runs: Sequence[Run],
    answers: FoldAnswers,
    made: Folds,
    own: Mapping[str, Any],
    nested: Mapping[str, Any],
) -> CrossvalResult:
    trained = sum(len(stays) for stays, _ in made.plan)
    ratio = sum(len(held) for _, held in made.plan) / trained
    metric = headline_metric(runs[0])
    found = spreads(answers.folds, ratio)
    return CrossvalResult(
        group=group,
        mode=made.pool.mode,
        folds=own["folds"],
        repeats=own["repeats"],
        metric=metric if metric in found else next(iter(found)),
        scores=found,
        out_of_fold=answers.scores,
        test=answers.test,
        nested=nested,
        honest=made.inner > 0,
        rows=len(made.pool),
        notes=made.pool.notes(made.plan, own["folds"]),
    )
