"""The page of a group: what its members score alone and together, and where they differ."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ...core.errors import RunError
from ...core.groups import member_folders, read_group
from ...core.intervals import wilson_interval
from ...core.runs import is_run
from .._errors import classification
from .._figures import curves
from .._numbers import count, duration, label, metric_label, metric_text, percent, plain, short
from .._records import Records, mapping, number, read_object, read_records, sequence
from .._residuals import residual_section
from .._sections import epoch_line
from .._templates import figure, render
from ._figures import part_words, score_figures
from ._sweep_page import render_sweep
from ._tables import disputed_examples, member_table, nested_table

_TITLES: Final = {"crossval": "cross-validation", "ensemble": "ensemble"}
_CURVES: Final = 40


def render_group(folder: str | Path, /) -> str:
    """Make the page of a group of runs as one HTML page.

    Besides links to the folders of the members it needs nothing else; the same records give the
    same bytes.

    Args:
        folder: Of the group.

    Raises:
        RunError: It is no group, or has not come to its end.
    """
    folder = Path(folder)
    facts = read_group(folder)
    if facts["kind"] == "sweep":
        return render_sweep(folder)
    result = mapping(facts.get("result"))
    if not result or facts["kind"] not in _TITLES:
        raise RunError(
            f"report: {str(folder)!r} has no result yet; its members are runs with reports of"
            " their own. Go on with it by the command that began it, with --resume."
        )
    places = member_folders(folder, facts)
    runs = {name: read_records(place) for name, place in places.items() if is_run(place)}
    own = _own_records(folder, runs)
    judged = _judged(result)
    crossval = facts["kind"] == "crossval"
    return render(
        "group.html.jinja",
        title=f"{folder.resolve().name} · fitwell {_TITLES[facts['kind']]}",
        brand=_TITLES[facts["kind"]],
        name=folder.resolve().name,
        status=str(facts.get("status", "")),
        subtitle=_subtitle(facts, runs),
        lead=_held_out_lead(result) if crossval else _lead(judged[-1]),
        tiles=_tiles(result, judged, runs, crossval=crossval),
        notes=_notes(facts, result, runs, len(places)),
        figures=score_figures(result, judged, runs),
        verdicts=_verdicts(judged),
        members=member_table(folder, facts, result, judged, runs),
        nested=nested_table(result),
        disputed=disputed_examples(own, judged),
        classes=_named(classification(own), crossval=crossval),
        regression=_named(residual_section(own), crossval=crossval),
        curves=_learning(runs, str(result["metric"])),
        repeat=_repeat(folder, facts),
        settings=_settings(facts, runs),
    )


def _own_records(folder: Path, runs: Mapping[str, Records]) -> Records:
    """Give what the group itself recorded in the form that sections of a run's page take."""
    damaged: list[str] = []
    evaluation = read_object(folder / "evaluation.json", damaged)
    schema = next((run.run.get("schema") for run in runs.values()), None)
    return Records(
        folder=folder,
        opened=str(folder),
        run={"schema": schema},
        evaluation=evaluation,
        damaged=tuple(damaged),
    )


def _judged(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give what was measured of the members together, part by part, the test part last."""
    parts = result.get("parts") or {"test": result.get("test")}
    return [mapping(found) for found in mapping(parts).values() if found]


def _subtitle(facts: Mapping[str, Any], runs: Mapping[str, Records]) -> list[str]:
    sources = dict.fromkeys(
        plain(mapping(run.run.get("data")).get("source")) for run in runs.values()
    )
    models = dict.fromkeys(run.model for run in runs.values())
    created = str(facts.get("created", ""))[:16].replace("T", " ")
    words = [*sources, *models] if len(models) <= 3 else [*sources, f"{len(models)} models"]
    return [word for word in (*words, created) if word]


def _band(metric: str, value: float, ends: Any) -> dict[str, str] | None:
    low_high = [number(end) for end in sequence(ends)]
    if metric != "accuracy" or len(low_high) != 2 or None in low_high:
        return None
    low, high = (float(end or 0) for end in low_high)
    return {
        "left": f"{100 * low:.2f}%",
        "width": f"{100 * (high - low):.2f}%",
        "dot": f"{100 * value:.2f}%",
    }


def _between(metric: str, ends: Any) -> str:
    known = [number(end) for end in sequence(ends)]
    if len(known) != 2 or None in known:
        return ""
    return "95% interval " + " to ".join(metric_text(metric, end) for end in known)


def _held_out_lead(result: Mapping[str, Any]) -> dict[str, Any]:
    metric = str(result["metric"])
    found = mapping(mapping(result["scores"])[metric])
    trainings = len(sequence(found["values"]))
    if _leaves_one_out(result):
        value, rows = number(mapping(result["out_of_fold"]).get(metric)), int(result["rows"])
        share = metric == "accuracy" and value is not None
        ends = wilson_interval(round(value * rows), rows) if share and value is not None else None
        return {
            "title": f"Held-out {metric_label(metric)} of all rows",
            "text": metric_text(metric, value),
            "band": None if value is None else _band(metric, value, ends),
            "interval": _between(metric, ends),
            "small": f"{count(rows)} rows, each held out alone",
        }
    return {
        "title": f"Held-out {metric_label(metric)}, mean of {trainings} folds",
        "text": metric_text(metric, found["mean"]),
        "band": _band(metric, found["mean"], found.get("interval")),
        "interval": _between(metric, found.get("interval")),
        "small": "of the mean, wider since folds share training rows (Nadeau and Bengio 2003)",
    }


def _leaves_one_out(result: Mapping[str, Any]) -> bool:
    return result.get("rows") is not None and result["rows"] == result.get("folds")


def _lead(judged: Mapping[str, Any]) -> dict[str, Any]:
    metric = str(judged["metric"])
    value = mapping(judged["scores"])[metric]
    part = part_words(judged)
    return {
        "title": f"{part} {metric_label(metric)} of the ensemble",
        "text": metric_text(metric, value),
        "band": _band(metric, value, judged.get("interval")),
        "interval": _between(metric, judged.get("interval")),
        "small": f"{count(int(judged['examples']))} {part} examples",
    }


def _tiles(
    result: Mapping[str, Any],
    judged: Sequence[Mapping[str, Any]],
    runs: Mapping[str, Records],
    *,
    crossval: bool,
) -> list[tuple[str, str, str]]:
    metric = str(result["metric"])
    tiles = []
    if crossval:
        found = mapping(mapping(result["scores"])[metric])
        if found.get("std") is not None:
            tiles.append(("standard deviation", _gap(metric, found["std"]), "from fold to fold"))
        whole = mapping(result["out_of_fold"]).get(metric)
        if not _leaves_one_out(result):
            tiles.append((f"{metric_label(metric)} of all rows", metric_text(metric, whole), ""))
    if judged:
        last = judged[-1]
        part = part_words(last)
        value, best = mapping(last["scores"])[metric], str(last["best"])
        alone = mapping(mapping(last["members"])[best])[metric]
        if crossval:
            small = f"mean of {len(last['members'])} members' answers"
            tiles.append((f"{part} {metric_label(metric)}", metric_text(metric, value), small))
        where = "its held-out rows" if crossval else "validation examples"
        tiles.append((f"{best} alone", metric_text(metric, alone), f"best on {where}"))
        tiles.append(("members on average", metric_text(metric, last["mean"]), f"{part} part"))
        by_number = metric in ("rmse", "mae", "r2", "mse")
        apart = number(last.get("disagreement")) or 0.0
        what = (
            ("spread of answers", short(apart)) if by_number else ("disagreement", percent(apart))
        )
        tiles.append((*what, "standard deviation" if by_number else "of answers, pair by pair"))
    seconds = sum(number(run.result.get("seconds")) or 0.0 for run in runs.values())
    tiles.append(("training time", duration(seconds), f"of {len(runs)} members"))
    return tiles


def _gap(metric: str, value: float) -> str:
    if metric == "accuracy":
        return f"{percent(value).removesuffix('%')} points"
    return short(value)


def _verdicts(judged: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [plain(mapping(item.get("paired")).get("words", "")) for item in judged]
    return [words[0].upper() + words[1:] for words in found if words]


def _notes(
    facts: Mapping[str, Any], result: Mapping[str, Any], runs: Mapping[str, Records], members: int
) -> list[str]:
    told = [plain(words) for words in sequence(result.get("notes"))]
    notes = [f"{words[0].upper()}{words[1:]}." for words in told if words]
    if facts["kind"] == "crossval" and not result.get("honest", True):
        notes.append(
            "The held-out rows also chose the epoch of each member, which flatters the score a"
            " little. Leave out --inner 0 to have it chosen by other rows."
        )
    parts = list(mapping(result.get("parts")))
    if parts and "test" not in parts:
        notes.append(
            "There is no test part. The scores are of the validation part, which also chose the"
            " epoch of each member and the best of them, so they are a little too good."
        )
    if result.get("selected_on"):
        notes.append(
            "The validation part chose the members, so that its score flatters; the test part did"
            " not."
        )
    gone = members - len(runs)
    if gone > 0:
        were = "member is no longer where it was" if gone == 1 else "members are no longer where"
        were += "" if gone == 1 else " they were"
        notes.append(f"{gone} {were}; left out of the table.")
    return notes


def _named(section: dict[str, Any] | None, *, crossval: bool) -> dict[str, Any] | None:
    """Name the part that the errors are on: of folds, all held-out rows."""
    if section is None or not crossval:
        return section
    return {**section, "part": "held-out"}


def _learning(runs: Mapping[str, Records], metric: str) -> dict[str, Any] | None:
    lines = []
    for place, (name, run) in enumerate(list(runs.items())[:_CURVES]):
        crowded = len(runs) > 8
        line = epoch_line(
            run,
            "valid",
            metric,
            label="" if crowded else name,
            series=0 if crowded else place,
            style="faint" if crowded else "solid",
        )
        if line is not None:
            lines.append(line)
    if not lines or max(len(line.x) for line in lines) < 2:
        return None
    title = f"Validation {metric_label(metric)} of each member"
    svg = curves(
        lines,
        title=title,
        x_label="epoch",
        percent=metric == "accuracy",
        size=(720, 300),
    )
    return {"title": title, "svg": figure(svg), "caption": ""}


def _repeat(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    opened = shlex.quote(str(folder))
    versions = mapping(facts.get("versions"))
    return {
        "command": plain(facts.get("command") or ""),
        "facts": [
            (name, plain(versions[name])) for name in ("fitwell", "torch") if name in versions
        ],
        "more": [
            ("measure again", f"fitwell evaluate {opened}"),
            ("answer for new data, as one", f"fitwell predict {opened} NEW_DATA"),
            ("put the members side by side", f"fitwell compare {opened}"),
        ],
    }


def _settings(facts: Mapping[str, Any], runs: Mapping[str, Records]) -> list[dict[str, Any]]:
    own = {
        name: value
        for name, value in mapping(facts.get("settings")).items()
        if name not in ("training", "fingerprint", "runs") and value not in (None, [], "")
    }
    sections = [
        {"name": str(facts["kind"]), "rows": [(label(k), plain(v)) for k, v in own.items()]}
    ]
    first = next(iter(runs.values()), None)
    if first is not None:
        sections += [
            {"name": label(name), "rows": [(label(str(k)), plain(v)) for k, v in values.items()]}
            for name, values in first.settings().items()
        ]
    return sections
