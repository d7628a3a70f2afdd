"""The report page of one run: what to say, in which order, with which numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ..core.groups import remedy
from ._data_section import data_section
from ._errors import classification
from ._instruments import probe_section, watch_section
from ._numbers import count, duration, label, memory, metric_label, metric_text, plain, short
from ._records import Records, mapping, number, numbers, read_records
from ._residuals import residual_section
from ._sections import Headline, curve_table, headline, learning_curves
from ._templates import render

_MEMORY: Final = ("peak_memory", "peak_device_memory")


def render_report(run_folder: str | Path, /) -> str:
    """Make the report of a run as one HTML page that needs nothing else.

    Works from the records in the folder alone, and as well for a run that is still going or was
    killed: the page then says what is missing. The same records give the same bytes.

    Args:
        run_folder: Folder of the run.

    Raises:
        RunError: It is not a run folder, was written by a newer fitwell, or holds no training yet.
    """
    records = read_records(run_folder)
    top = headline(records)
    return render(
        "report.html.jinja",
        title=f"{records.name} · fitwell report",
        name=records.name,
        status=records.status,
        subtitle=_subtitle(records),
        headline=top,
        tiles=_tiles(records, top),
        notes=_notes(records),
        repeat=_repeat(records),
        curves=learning_curves(records),
        curve_table=curve_table(records),
        classes=classification(records),
        regression=residual_section(records),
        watched=watch_section(records),
        probes=probe_section(records.folder),
        metrics=metric_table(records),
        settings=settings_table(records),
        data=data_section(records),
        versions=_flat(records.run.get("versions")),
        machine=_flat(records.run.get("machine")),
        throughput=_throughput(records),
    )


def metric_table(records: Records) -> dict[str, Any]:
    """Give all metrics by part, as a table.

    Args:
        records: Records of the run.
    """
    parts = {part: found for part, found in records.metrics.items() if found}
    names: dict[str, None] = {}
    for found in parts.values():
        names.update(dict.fromkeys(found))
    rows = [
        [metric_label(name), *(metric_text(name, found.get(name)) for found in parts.values())]
        for name in names
    ]
    return {"parts": list(parts), "rows": rows, "final": bool(records.result)}


def settings_table(records: Records) -> list[dict[str, Any]]:
    """Give the settings by section, as words.

    Args:
        records: Records of the run.
    """
    return [
        {"name": label(name), "rows": _flat(values)} for name, values in records.settings().items()
    ]


def _flat(value: Any) -> list[tuple[str, str]]:
    return [(label(str(key)), plain(item)) for key, item in mapping(value).items()]


def _subtitle(records: Records) -> list[str]:
    run = records.run
    source = mapping(run.get("data")).get("source")
    created = str(run.get("created", ""))[:16].replace("T", " ")
    words = [plain(word) for word in (run.get("task"), source, records.model) if word]
    return [*words, *([created] if created else [])]


def _tiles(records: Records, top: Headline | None) -> list[tuple[str, str, str]]:
    """Name, value and small print of the numbers beside the headline."""
    result, tiles = records.result, []
    valid = numbers(records.metrics["valid"])
    if top is not None and top.part == "test" and top.metric in valid:
        tiles.append((f"validation {top.words}", metric_text(top.metric, valid[top.metric]), ""))
    last = records.epochs[-1]["epoch"] if records.epochs else None
    epochs = number(result.get("epochs")) or last
    if records.best_epoch is not None and epochs is not None:
        tiles.append(
            (
                "best epoch",
                count(records.best_epoch),
                f"of {count(int(epochs))}" + ("" if result else " so far"),
            )
        )
    parameters = number(result.get("parameters"))
    if parameters is not None:
        tiles.append(("parameters", count(int(parameters)), ""))
    seconds = number(result.get("seconds"))
    if seconds is None and records.epochs:
        seconds = sum(number(row.get("seconds")) or 0.0 for row in records.epochs)
    if seconds:
        steps = number(result.get("steps")) or (records.steps[-1]["step"] if records.steps else 0)
        tiles.append(("training time", duration(seconds), f"{count(int(steps))} steps"))
    speed = _speed(records)
    if speed is not None:
        tiles.append(("throughput", count(round(speed)), "examples per second"))
    peak, device = (number(result.get(key)) for key in _MEMORY)
    if peak is not None:
        small = f"and {memory(device)} on the GPU" if device is not None else "of the process"
        tiles.append(("peak memory", memory(peak), small))
    return tiles


def _speed(records: Records) -> float | None:
    speed = number(records.result.get("examples_per_second"))
    if speed is None and records.epochs:
        speed = number(records.epochs[-1].get("examples_per_second"))
    return speed


def _notes(records: Records) -> list[str]:
    """Sentences on what this page cannot show, and why."""
    notes = []
    done = records.epochs[-1]["epoch"] if records.epochs else 0
    planned = number(mapping(records.settings().get("optimization")).get("epochs"))
    so_far = f" after epoch {done}" + (f" of {planned:.0f}" if planned else "") if done else ""
    go_on = remedy(records.opened)
    if records.status == "running":
        notes.append(
            f"This run was still training, or was killed{so_far}. The numbers are the latest"
            f" written ones; continue a killed run with: {go_on}"
        )
    elif records.status == "stopped":
        notes.append(f"This run was stopped{so_far}. Continue it with: {go_on}")
    elif records.status == "failed":
        reason = records.run.get("error")
        notes.append(f"This run failed{so_far}" + (f": {plain(reason)}" if reason else "."))
    if records.result and not records.metrics["test"]:
        notes.append(
            "There is no test result. The headline is measured on the validation part, which also"
            " chose the best epoch, so it is a little too good."
        )
    if not records.epochs:
        notes.append("No epoch was completed, so there are no learning curves per epoch.")
    parts = (
        (records.evaluation, "evaluation.json", "errors and calibration (evaluation.json)"),
        (records.data, "data.json", "pictures or ranges of the training data (data.json)"),
    )
    missing = [words for found, name, words in parts if not found and name not in records.damaged]
    if missing:
        when = "" if records.result else " Training records them when it ends."
        notes.append(f"Not recorded, so not shown: {' and '.join(missing)}.{when}")
    notes += [f"{name} is damaged and was left out." for name in records.damaged]
    return notes


def _repeat(records: Records) -> dict[str, Any]:
    run, data = records.run, mapping(records.run.get("data"))
    seed = run.get("seed")
    for section in records.settings().values():
        seed = section.get("seed", seed)
    versions = mapping(run.get("versions"))
    facts = [
        ("seed", seed),
        ("data fingerprint", data.get("fingerprint")),
        ("fitwell", run.get("fitwell") or versions.get("fitwell")),
        ("torch", versions.get("torch")),
    ]
    folder = shlex.quote(records.opened)
    more = [("train with the same settings, in a new run", f"fitwell train --like {folder}")]
    if records.status in ("running", "stopped", "failed"):
        more.append(("go on with it", remedy(records.opened)))
    if records.result:
        more.append(("measure again", f"fitwell evaluate {folder}"))
        more.append(("answer for new data", f"fitwell predict {folder} NEW_DATA"))
    return {
        "command": plain(run["command"]) if run.get("command") else "",
        "more": more,
        "facts": [(name, plain(value)) for name, value in facts if value is not None],
    }


def _throughput(records: Records) -> list[tuple[str, str]]:
    result: Mapping[str, Any] = records.result
    speed, seconds = _speed(records), number(result.get("seconds"))
    per_epoch = [number(row.get("seconds")) for row in records.epochs]
    known = sorted(value for value in per_epoch if value is not None)
    rows = []
    if speed is not None:
        rows.append(("examples per second", short(speed)))
    if seconds is not None:
        rows.append(("training time", duration(seconds)))
    if known:
        rows.append(("median epoch", duration(known[len(known) // 2])))
    steps = number(result.get("steps"))
    if steps and seconds:
        rows.append(("steps per second", short(steps / seconds)))
    names = ("peak memory of the process", "peak memory on the GPU")
    for name, key in zip(names, _MEMORY, strict=True):
        size = number(result.get(key))
        if size is not None:
            rows.append((name, memory(size)))
    return rows
