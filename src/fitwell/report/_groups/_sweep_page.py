"""The page of a sweep: the best and what it is worth, what mattered, and every trial."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ...core.errors import RunError
from ...core.groups import read_group
from ...core.runs import LOWER_IS_BETTER, is_run
from .._figures import Line, bars, curves
from .._instruments import probe_section
from .._numbers import count, duration, metric_label, metric_text, percent, plain, short
from .._records import Records, mapping, number, numbers, read_records, sequence
from .._sections import epoch_line
from .._templates import figure, render
from ._sweep_figures import SettingAxis, all_settings, along_setting, rung_scores

BELIEVED: Final = 0.3
"""Share of the variance that a model of the settings must explain to be believed."""

_SHOWN: Final = 100
"""Trials in the table; the others are in sweep.csv."""


def render_sweep(folder: str | Path, /) -> str:
    """Make the page of a finished sweep from the records in its folder.

    Besides links to the folders of the members it needs nothing else.

    Args:
        folder: Of the sweep.

    Raises:
        RunError: It is no sweep, or has not come to its end.
    """
    folder = Path(folder)
    group = read_group(folder)
    result = mapping(group.get("result"))
    if group.get("kind") != "sweep" or not result.get("members"):
        raise RunError(
            f"report: `group` must be a finished sweep; got {str(folder)!r}. Go on with it by the"
            " command that began it."
        )
    metric = str(result["metric"])
    rows = [row for row in sequence(result["members"]) if row["valid"] is not None]
    runs = _runs(folder, result)
    names = [str(dimension["name"]) for dimension in sequence(result.get("dimensions"))]
    best = mapping(result["best"])
    return render(
        "sweep.html.jinja",
        title=f"{folder.resolve().name} · fitwell sweep",
        name=folder.resolve().name,
        status=str(group.get("status", "")),
        subtitle=_subtitle(group, runs),
        metric=metric_label(metric),
        best=_best(result, metric),
        tiles=_tiles(result),
        notes=_notes(group, result),
        command=best.get("command"),
        more=_more(folder, group),
        importance=_importance(result),
        ended=any(row["stopped"] for row in rows),
        settings=_along(result, rows, metric),
        overview=_overview(result, rows, metric),
        curves=_curves(runs, rows, best, metric, result),
        probes=probe_section(folder),
        table={"names": _short_names(names), "rows": _table(folder, result, names, metric)},
        hidden=max(0, len(_trials(result)) - _SHOWN),
    )


def _runs(folder: Path, result: Mapping[str, Any]) -> dict[str, Records]:
    """Read the records of the members that have trained, by name."""
    names = [str(row["member"]) for row in sequence(result["members"]) if row["epochs"]]
    places = {name: folder / "members" / name for name in names}
    return {name: read_records(place) for name, place in places.items() if is_run(place)}


def _subtitle(group: Mapping[str, Any], runs: Mapping[str, Records]) -> list[str]:
    settings = mapping(group.get("settings"))
    sources = dict.fromkeys(plain(mapping(r.run.get("data")).get("source")) for r in runs.values())
    models = dict.fromkeys(run.model for run in runs.values())
    words = [*sources, *models] if len(models) <= 3 else [*sources, f"{len(models)} models"]
    words.append(str(settings.get("method", "")))
    if settings.get("stop") not in (None, "none()"):
        words.append(str(settings["stop"]))
    created = str(group.get("created", ""))[:16].replace("T", " ")
    return [word for word in (*words, created) if word]


def _best(result: Mapping[str, Any], metric: str) -> dict[str, Any]:
    best, final = mapping(result.get("best")), mapping(result.get("final"))
    if not best:
        return {"title": "best member", "value": "none", "interval": "", "band": None}
    value, ends = number(final.get("test")), final.get("interval")
    interval, band = "", None
    if ends is not None:
        low, high = (metric_text(metric, end) for end in ends)
        interval = f"95% interval over {final['over']} {low} to {high}"
        if metric == "accuracy" and value is not None and 0 <= ends[0] <= ends[1] <= 1:
            band = {
                "left": f"{100 * ends[0]:.2f}%",
                "width": f"{100 * (ends[1] - ends[0]):.2f}%",
                "dot": f"{100 * value:.2f}%",
            }
    seeds = final.get("seeds") or 0
    new = "new " * bool(final.get("new"))
    of = f"mean of {seeds} {new}seeds" if seeds else f"of {best['member']}"
    valid = value is None
    return {
        "title": f"{'validation' if valid else 'test'} {metric_label(metric)}, {of}",
        "value": metric_text(metric, number(best["valid"]) if valid else value),
        "interval": interval,
        "band": band,
    }


def _tiles(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = sequence(result["members"])
    metric, best = str(result["metric"]), mapping(result.get("best"))
    early = [row for row in rows if row["stopped"] and row["status"] != "failed"]
    failed = [row for row in rows if row["status"] == "failed"]
    seconds = sum(row["seconds"] or 0.0 for row in rows)
    epochs = sum(row["epochs"] for row in rows)
    tiles = [
        (
            f"validation {metric_label(metric)}",
            metric_text(metric, number(best.get("valid"))),
            "the best of all, so optimistic" if best else "no member has one",
        ),
        ("trials", count(len(_trials(result))), f"{count(len(rows))} members"),
        ("ended early", count(len(early)), f"of {count(len(rows))} members"),
        *[("failed", count(len(failed)), f"of {count(len(rows))} members")] * bool(failed),
        ("training time", duration(seconds), f"{count(epochs)} epochs in all"),
    ]
    if best.get("parameters"):
        tiles.append(("parameters", count(best["parameters"]), "of the best"))
    return tiles


def _notes(group: Mapping[str, Any], result: Mapping[str, Any]) -> list[str]:
    notes = []
    if not result.get("best"):
        notes.append("No member has a score, so there is no best one.")
    elif mapping(result["final"]).get("test") is None:
        notes.append(
            "There is no test part. The number shown is of the part that chose the best, and is"
            " optimistic."
        )
    failed = [row for row in sequence(result["members"]) if row["valid"] is None]
    if failed:
        names = ", ".join(row["member"] for row in failed[:5])
        notes.append(
            f"{len(failed)} member{'s' * (len(failed) > 1)} ended without a score, such as by a"
            " setting that does not fit or a loss that became NaN:"
            f" {names}{' ...' * (len(failed) > 5)}."
        )
    if group.get("own_models"):
        names = ", ".join(map(str, sequence(group["own_models"])))
        notes.append(f"Given from Python, and not stored: {names}.")
    return notes


def _more(folder: Path, group: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if len(mapping(group.get("members"))) > 1:
        line = f"fitwell ensemble {shlex.quote(str(folder))} --select greedy"
        rows.append(("combine the members", line))
    if group.get("command"):
        rows.insert(0, ("the whole sweep", str(group["command"])))
    return rows


def _importance(result: Mapping[str, Any]) -> dict[str, Any] | None:
    found = mapping(result.get("importance"))
    shares = numbers(found.get("shares"))
    if not shares:
        return None
    explained = float(found["explained"])
    names = [*_short_names(list(shares)), "together"]
    values = [*shares.values(), float(found["together"])]
    if explained < BELIEVED:
        caption = (
            f"A forest of the trials predicts {percent(explained, 0)} of how others vary: too"
            " little to trust these shares. Try more settings."
        )
    else:
        caption = (
            f"Shares of how the {metric_label(str(found['metric']))} varies over the space, by a"
            f" forest that predicts {percent(explained, 0)} of how members vary that it has not"
            " seen. What settings do only together is last."
        )
    svg = bars(names, values, title="What mattered", x_label="share of the variance")
    return {"title": "Share of each setting", "svg": figure(svg), "caption": caption}


def _short_names(names: Sequence[str]) -> list[str]:
    """Give names without the words before the last point, where that tells them apart."""
    ends = [_end(name) for name in names]
    return [end if ends.count(end) == 1 else name for end, name in zip(ends, names, strict=True)]


def _end(name: str) -> str:
    """Give the last word, and the one before it where the last says nothing by itself."""
    words = name.split(".")
    alone = words[-1] not in ("value", "times") and not words[-1].isdigit()
    return ".".join(words[-1:] if alone else words[-2:])


def _axes(result: Mapping[str, Any]) -> list[SettingAxis]:
    found = []
    for dimension in sequence(result.get("dimensions")):
        name = str(dimension["name"])
        if dimension["kind"] == "choice":
            found.append(SettingAxis(name=name, labels=tuple(map(str, dimension["labels"]))))
        else:
            ends = (float(dimension["low"]), float(dimension["high"]))
            found.append(SettingAxis(name=name, log=bool(dimension["log"]), ends=ends))
    return found


def _along(
    result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], metric: str
) -> list[dict[str, Any]]:
    """Draw the metric along each setting, those that mattered most first."""
    effects = mapping(mapping(result.get("importance")).get("effects"))
    order = list(effects)
    axes = sorted(
        _axes(result), key=lambda axis: order.index(axis.name) if axis.name in order else len(order)
    )
    found = []
    for axis in axes:
        known = [row for row in rows if axis.name in row["values"]]
        if not known:
            continue
        best = [k for k, row in enumerate(known) if row["member"] == _best_name(result)]
        effect = mapping(effects.get(axis.name))
        svg = along_setting(
            axis,
            [row["values"][axis.name] for row in known],
            [row["valid"] for row in known],
            title=f"validation {metric_label(metric)} along {axis.name}",
            best=best[0] if best else None,
            ended=[bool(row["stopped"]) for row in known],
            effect=(effect["at"], effect["mean"]) if effect else None,
            lower=metric in LOWER_IS_BETTER,
            percent=metric == "accuracy",
        )
        found.append({"title": axis.name, "svg": figure(svg), "caption": ""})
    return found


def _overview(
    result: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], metric: str
) -> dict[str, Any] | None:
    axes = _axes(result)
    best = [k for k, row in enumerate(rows) if row["member"] == _best_name(result)]
    if not 2 <= len(axes) <= 8 or not best:
        return None
    names = dict(
        zip([axis.name for axis in axes], _short_names([a.name for a in axes]), strict=True)
    )
    svg = all_settings(
        [SettingAxis(**{**vars(axis), "name": names[axis.name]}) for axis in axes],
        [{names[key]: value for key, value in row["values"].items()} for row in rows],
        [row["valid"] for row in rows],
        title="All settings of all members",
        metric=metric_label(metric),
        best=best[0],
        lower=metric in LOWER_IS_BETTER,
        percent=metric == "accuracy",
    )
    caption = "A line is a member: the best is thick, the best quarter coloured."
    return {"title": "All settings at once", "svg": figure(svg), "caption": caption}


def _best_name(result: Mapping[str, Any]) -> Any:
    return mapping(result.get("best")).get("member")


def _curves(
    runs: Mapping[str, Records],
    rows: Sequence[Mapping[str, Any]],
    best: Mapping[str, Any],
    metric: str,
    result: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Draw the learning curves of all members, and the rungs if there were any."""
    scored = [str(row["member"]) for row in rows]
    records = {name: runs[name] for name in scored if name in runs}
    found = []
    wanted = [
        (f"Validation {metric_label(metric)}", "valid", metric),
        ("Training loss", "train", "loss"),
    ]
    for title, part, name in wanted:
        lines = _lines(records, str(best.get("member")), part, name)
        if any(len(line.x) > 1 for line in lines):
            svg = curves(
                lines,
                title=f"{title} of all members",
                x_label="epoch",
                percent=name == "accuracy",
                log_y=name == "loss",
                legend=False,
            )
            caption = f"{best['member']}, the best, is thick." if best else ""
            found.append({"title": title, "svg": figure(svg), "caption": caption})
    rungs = [rung for one in sequence(result.get("rungs")) for rung in one]
    if rungs:
        svg = rung_scores(
            rungs,
            title="Which trials went on",
            lower=metric in LOWER_IS_BETTER,
            percent=metric == "accuracy",
        )
        found.append(
            {"title": "Which trials went on", "svg": figure(svg), "caption": _rungs(rungs)}
        )
    return found


def _rungs(rungs: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[int, list[int]] = {}
    for rung in rungs:
        both = counts.setdefault(int(rung["epochs"]), [0, 0])
        both[0] += len(rung["kept"])
        both[1] += len(rung["judged"])
    return "; ".join(
        f"after {epochs} epoch{'s' * (epochs > 1)} {kept} of {judged}"
        for epochs, (kept, judged) in sorted(counts.items())
    )


def _lines(records: Mapping[str, Records], best: str, part: str, name: str) -> list[Line]:
    """Give a line per member, the best on top."""
    found: list[Line] = []
    for member in [
        *(one for one in records if one != best),
        *(one for one in records if one == best),
    ]:
        line = epoch_line(
            records[member],
            part,  # type: ignore[arg-type]  # both are parts
            name,
            label=member,
            style="solid" if member == best else "faint",
            series=1 if member == best else 0,
        )
        if line is not None:
            found.append(line)
    return found


def _trials(result: Mapping[str, Any]) -> dict[int, list[Mapping[str, Any]]]:
    """Give the members of each trial, in the order of the records: best first."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for row in sequence(result["members"]):
        found.setdefault(int(row["trial"]), []).append(row)
    return found


def _table(
    folder: Path, result: Mapping[str, Any], names: Sequence[str], metric: str
) -> list[dict[str, Any]]:
    rows = []
    for place, row in enumerate(sequence(result["members"])):
        if len({one["trial"] for one in sequence(result["members"])[:place]}) >= _SHOWN:
            break
        member = str(row["member"])
        rows.append(
            {
                "member": member,
                "link": _link(folder / "members" / member, member),
                "best": member == _best_name(result),
                "values": [_value(row["values"].get(name)) for name in names],
                "valid": metric_text(metric, number(row["valid"])),
                "epochs": count(row["epochs"]),
                "seconds": "–" if row["seconds"] is None else duration(row["seconds"]),
                "stopped": str(row["stopped"] or "").partition(". ")[0],
            }
        )
    return rows


def _link(place: Path, member: str) -> str:
    """Give where a member's page is, or its folder; nothing if it was never begun."""
    if not place.is_dir():
        return ""
    return f"members/{member}/" + ("report.html" if (place / "report.html").exists() else "")


def _value(value: Any) -> str:
    if value is None:
        return "–"
    return short(value) if isinstance(value, float) else plain(value)
