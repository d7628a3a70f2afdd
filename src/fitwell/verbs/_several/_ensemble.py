"""The verb `ensemble`: several runs as one, and what that gains over the best of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, final, get_args

import numpy as np

from ...core.errors import UsageError
from ...core.files import finite, write_json
from ...core.text import aligned
from ...train import Combine, Run
from .._prepare import defaults
from ._combined import combine_runs
from ._group import Group, as_group
from ._members import (
    Launch,
    begin_group,
    group_folder,
    same,
    train_members,
    typed,
    with_own_models,
)
from ._options import check_lent, with_training_options
from ._outputs import Together, check_fits
from ._page import write_group_page
from ._pool import Pool
from ._runs import open_members
from ._snapshots import cycles, train_snapshots
from ._together import Variation, arguments, data_for, sessions

Vary = Literal["seed", "bootstrap"]
Select = Literal["all", "greedy"]

_MOST: Final = 500
"""Members of one ensemble; more is a mistake."""


@final
@dataclass(frozen=True, kw_only=True)
class EnsembleResult:
    """Several runs as one.

    Args:
        group: The ensemble, which `predict` and `evaluate` take like a run.
        combine: What of the outputs is averaged.
        metric: The metric that stands for a run.
        weights: Share of each member by name.
        parts: The members alone and together by part; the test part if there is one comes last.
        selected_on: Whether the validation part chose the members, so that its score flatters.
    """

    group: Group
    combine: Combine
    metric: str
    weights: Mapping[str, float]
    parts: Mapping[str, Together]
    selected_on: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, ready for JSON."""
        parts = {name: found.to_dict() for name, found in self.parts.items()}
        folder = str(self.group.folder)
        plain: dict[str, Any] = finite({**vars(self), "group": folder, "parts": parts})
        return plain

    @property
    def result(self) -> dict[str, Any]:
        """All fields as plain data, as `Group.result` has them."""
        return self.to_dict()

    def __str__(self) -> str:
        heads = [f"{part} {self.metric}" for part in self.parts]
        rows = [
            [name, f"{share:.3g}", *(_cell(t.members[name], self.metric) for t in self._judged)]
            for name, share in self.weights.items()
        ]
        rows.append(["mean", "", *(f"{found.mean:.4g}" for found in self._judged)])
        together = (f"{found.scores[self.metric]:.4g}" for found in self._judged)
        rows.append(["together", "", *together])
        lines = [f"group    {self.group.folder}: {len(self.weights)} members, {self.combine}", ""]
        lines += [aligned(["member", "share", *heads], rows), ""]
        lines += [str(found) for found in self._judged]
        page = self.group.folder / "report.html"
        return "\n".join([*lines, *([f"report   {page}"] if page.exists() else [])])

    @property
    def _judged(self) -> list[Together]:
        return list(self.parts.values())


def _cell(scores: Mapping[str, float], metric: str) -> str:
    return f"{scores[metric]:.4g}" if metric in scores else "-"


@with_training_options
def ensemble(
    *sources: Any,
    members: int | None = None,
    vary: Sequence[str] | None = None,
    snapshots: int = 0,
    combine: Combine = "probs",
    select: Select = "all",
    data: Any = None,
    workers: int = 1,
    cluster: str | None = None,
    group: str | Path | None = None,
    resume: bool = False,
    report: bool = True,
    quiet: bool = False,
    **training: Any,
) -> EnsembleResult:
    """Let several runs answer as one, and measure what that gains over the best of them.

    Name runs, or groups of runs, to combine what is there. Or name a data set (or one run, whose
    data and settings are taken over) to train the members first. They are tested on examples that
    none was trained on; the best single one is that of the validation part, so that neither side
    has an advantage.

    Args:
        sources: At least two runs or one group; or what `train` takes; or one run.
        members: How many are trained; 5 if left out.
        vary: What differs between those that are trained: `seed`, of weights and order, or
            `bootstrap`, the rows, which are drawn with replacement; or both. Seeds if left out.
        snapshots: Train one model in so many cycles of the rate, and keep it at the end of each,
            in place of several models; the epochs are shared among the cycles, which are the
            schedule.
        combine: Average probabilities or logits, or let members vote; equal votes go to the larger
            mean probability. Numbers are averaged.
        select: Take all members alike, or choose them by the validation part, with replacement.
        data: The data again, if it was in memory or is somewhere else now.
        workers: Processes that each train a part of the members.
        cluster: Address of a Ray cluster to start the processes on; this machine if left out.
        group: Folder of the ensemble; a new one in runs/ if left out.
        resume: Go on with a group that was stopped: finished members stay, all others start anew.
        report: Whether report.html is written at the end.
        quiet: Show no progress.

    Raises:
        UsageError: An argument does not fit, or the runs differ in what they answer or in their
            test part.
        DataError: The data is bad; nothing was written.
        RunError: A run is not finished, a loss became infinite, or the folder of the group holds
            something else.

    Groups:
        Members: members, vary, snapshots
        Result: combine, select, data, workers, cluster, group, resume, report, quiet
    """
    check_lent("ensemble", training)
    check_fits("ensemble", combine)
    own = {"members": members, "vary": vary, "snapshots": snapshots}
    sources = _flat(sources)
    _check(sources, own, select, group, resume)
    shown: dict[str, Any] = {"combine": combine, "select": select}
    existing = _existing(sources)
    typed_in = [name for name, value in training.items() if not same(value, defaults()[name])]
    model = training["model"] if existing and "model" in typed_in else None
    typed_in = [name for name in typed_in if name != "model" or model is None]
    _refuse_unused(own, typed_in, trained=bool(existing))
    place = group, resume
    if existing:
        runs = open_members(existing, model=model)
        shown |= {"model": model}
        found = combine_runs(runs, data, combine=combine, greedy=select == "greedy")
        made = _listed(runs, shown, *place)
    else:
        launch = Launch(workers=workers, cluster=cluster, quiet=quiet)
        made, runs, data = _trained(sources, own, shown, *place, launch, training)
        found = combine_runs(runs, data, combine=combine, greedy=select == "greedy")
    write_json(made.folder / "evaluation.json", found.record)
    result = EnsembleResult(
        group=made,
        combine=combine,
        metric=next(iter(found.parts.values())).metric,
        weights=found.weights,
        parts=found.parts,
        selected_on=found.selected_on,
    )
    made.update(status="finished", combine=combine, weights=found.weights, result=result.to_dict())
    if report:
        write_group_page(made)
    return result


def _flat(sources: Sequence[Any]) -> tuple[Any, ...]:
    """Take runs and groups out of a list that they were given in."""
    listed = len(sources) == 1 and isinstance(sources[0], (list, tuple)) and sources[0]
    if not listed or not all(
        isinstance(one, (Run, Group)) or as_group(one) or _is_run(one) for one in listed
    ):
        return tuple(sources)
    return tuple(listed)


def _refuse_unused(own: Mapping[str, Any], typed_in: Sequence[str], *, trained: bool) -> None:
    """Refuse arguments that nothing would be made of."""
    given = [name for name, value in own.items() if value not in (None, 0)]
    if trained and (given or typed_in):
        raise UsageError(
            f"ensemble: `{[*typed_in, *given][0]}` must be left out for runs that are trained"
            " already. Name a data set to train members."
        )
    unused = [name for name in (*given, *typed_in) if name in ("members", "vary", "schedule")]
    if own["snapshots"] and unused:
        raise UsageError(
            f"ensemble: `{unused[0]}` must be left out with `snapshots`, which are cycles of one"
            " training with a schedule of their own. Take one or the other."
        )


def _check(
    sources: Sequence[Any],
    own: Mapping[str, Any],
    select: str,
    group: str | Path | None,
    resume: bool,
) -> None:
    if not sources:
        raise UsageError(
            "ensemble: `sources` must be runs, or what to learn from; got nothing. Try: fitwell"
            " ensemble digits"
        )
    members, snapshots = 5 if own["members"] is None else own["members"], own["snapshots"]
    for name, values, known in (
        ("vary", own["vary"] or (), Vary),
        ("select", (select,), Select),
    ):
        for value in values:
            if value not in get_args(known):
                raise UsageError(
                    f"ensemble: `{name}` must be one of {get_args(known)}; got {value!r}."
                )
    if not 2 <= members <= _MOST or not (snapshots == 0 or 2 <= snapshots <= _MOST):
        raise UsageError(
            f"ensemble: `members` and `snapshots` must lie in 2 ... {_MOST}; got {members} and"
            f" {snapshots}. Use 5."
        )
    if resume and group is None:
        raise UsageError(
            "ensemble: `group` must name the folder that `resume` goes on with; got None."
        )


def _existing(sources: Sequence[Any]) -> dict[str, Path]:
    """Give the folders of runs to combine by name; empty if members are to be trained."""
    groups = {
        number: group
        for number, source in enumerate(sources)
        if (group := as_group(source)) is not None
    }
    folders = _of_groups(list(groups.values()))
    runs = [source for source in sources if isinstance(source, Run) or _is_run(source)]
    if len(runs) == 1 and len(sources) == 1:
        return {}
    for run in runs:
        folder = run.folder if isinstance(run, Run) else Path(run)
        folders[_free(folder.name, folders)] = folder
    gone = [group.folder for group in groups.values() if group.facts.get("weights_removed")]
    if gone and len(folders) < 2:
        raise UsageError(
            f"ensemble: `sources` must have weights; those of all members of {gone[0]} but the best"
            " were removed. Sweep again with --keep all."
        )
    if folders and len(runs) + len(groups) < len(sources):
        other = next(s for n, s in enumerate(sources) if n not in groups and s not in runs)
        raise UsageError(
            f"ensemble: `sources` must be runs alone, or what to learn from; got {other!r} among"
            " runs. Check the path."
        )
    return folders


def _of_groups(groups: Sequence[Group]) -> dict[str, Path]:
    """Give the members of groups, each once; names that several have are told apart."""
    found: dict[Path, tuple[Group, str]] = {}
    for group in groups:
        group.check_complete()
        for name, folder in group.folders().items():
            found.setdefault(folder.resolve(), (group, name))
    times = Counter(name for _, name in found.values())
    folders: dict[str, Path] = {}
    for folder, (group, name) in found.items():
        label = name if times[name] == 1 else f"{group.folder.resolve().name} {name}"
        folders[_free(label, folders)] = folder
    return folders


def _free(label: str, taken: Mapping[str, Path]) -> str:
    name, number = label, 2
    while name in taken:
        name, number = f"{label} {number}", number + 1
    return name


def _is_run(source: Any) -> bool:
    return isinstance(source, (str, Path)) and (Path(source) / "run.json").is_file()


def _listed(
    runs: Mapping[str, Run], shown: Mapping[str, Any], group: str | Path | None, resume: bool
) -> Group:
    """Make the group of runs that lie elsewhere."""
    words = typed(ensemble, shown, *(run.folder for run in runs.values()))
    folder = group_folder(group, "runs", "ensemble")
    settings = {name: value for name, value in shown.items() if name != "model"}
    made = begin_group(folder, "ensemble", words, {**settings, "runs": sorted(runs)}, resume)
    made.list_members({name: run.folder for name, run in runs.items()})
    return made


def _trained(
    sources: Sequence[Any],
    own: Mapping[str, Any],
    shown: Mapping[str, Any],
    group: str | Path | None,
    resume: bool,
    launch: Launch,
    training: Mapping[str, Any],
) -> tuple[Group, dict[str, Run], Any]:
    """Train the members."""
    if len(sources) > 2:
        raise UsageError(
            f"ensemble: `sources` must be runs, or a source and its path; got {len(sources)}."
            f" {sources[0]!r} is no run."
        )
    source, path = sources[0], sources[1] if len(sources) == 2 else None
    given = arguments(source, path, training)
    if given["seed"] is None and given["like"] is not None:
        given["seed"] = Run.open(given["like"]).settings.optimization.seed
    data = data_for(given)
    check_fits("ensemble", shown["combine"], data.splits.schema)
    folder = group_folder(group, data, "ensemble")
    snapshots = own["snapshots"]
    variations = (
        [Variation(name="snapshot-1")]
        if snapshots
        else with_own_models(_variations(given, data, _filled(own)), given["model"])
    )
    made = sessions(given, data, variations, folder)
    words = typed(ensemble, {"source": source, "path": path, **own, **shown, **training})
    settings = {
        **_filled(own),
        **shown,
        "data": data.path or data.name,
        "fingerprint": data.splits.fingerprint,
        "training": made[0].run.settings.to_dict(),
    }
    if snapshots:
        lengths = cycles(made[0], snapshots)
        begun = begin_group(folder, "ensemble", words, settings, resume)
        runs = train_snapshots(given, data, folder, lengths, launch)
    else:
        begun = begin_group(folder, "ensemble", words, settings, resume)
        runs = train_members(made, launch)
    begun.update(status="running")
    return begun, {run.folder.name: run for run in runs}, data


def _filled(own: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is trained, with what was left out."""
    members = 5 if own["members"] is None else own["members"]
    return {**own, "members": members, "vary": list(own["vary"] or ("seed",))}


def _variations(given: Mapping[str, Any], data: Any, own: Mapping[str, Any]) -> list[Variation]:
    """Give members that differ in their seeds, and in the rows that they learn from."""
    first = given["seed"] or 0
    pool = Pool.of(data, "random", first) if "bootstrap" in own["vary"] else None
    count = len(data.splits.train)
    found = []
    for number in range(own["members"]):
        seed = first + number
        settings = {"seed": seed} if "seed" in own["vary"] else {}
        splits, facts = None, {}
        if pool is not None:
            drawn = np.sort(np.random.RandomState(seed).randint(count, size=count))
            parts = {"train": drawn, "valid": np.arange(count, len(pool))}
            splits = pool.splits(parts, f"rows drawn with replacement, seed {seed}")
            facts = {"rows": "pool"}
        name = f"member-{number + 1}"
        found.append(Variation(name=name, settings=settings, splits=splits, facts=facts))
    return found
