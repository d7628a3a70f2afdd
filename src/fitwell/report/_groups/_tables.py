"""Tables of a group: its members, what folds chose, and where the members differ."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from ...core.groups import member_folders
from .._examples import Picture
from .._numbers import duration, label, metric_label, metric_text, percent, plain, short
from .._records import Records, mapping, number, sequence
from ._figures import held_out_values, part_words

_BYTES: Final = 600_000
"""Pictures together, as base64; the page must stay small enough to mail."""
_VOTES: Final = 4
"""Answers that are named for an example."""


def member_table(
    folder: Path,
    facts: Mapping[str, Any],
    result: Mapping[str, Any],
    judged: Sequence[Mapping[str, Any]],
    runs: Mapping[str, Records],
) -> dict[str, Any]:
    """Give a row per member: what differs in its settings, its scores, and where it is.

    Args:
        folder: Of the group.
        facts: Content of ``group.json``.
        result: The result of the group.
        judged: What was measured of the members together, part by part.
        runs: Records of the members by name.
    """
    metric, places = str(result["metric"]), member_folders(folder, facts)
    weights = mapping(facts.get("weights"))
    even = len({f"{number(share):.6f}" for share in weights.values()}) < 2
    held = held_out_values(mapping(mapping(result.get("scores")).get(metric)))
    differ = _differing(runs)
    heads = [*differ, *([] if even else ["share"])]
    heads += [f"held-out {metric_label(metric)}"] if held else []
    parts = [part_words(item) for item in judged]
    heads += [f"{part} {metric_label(metric)}" for part in parts]
    rows = []
    for place, (name, run) in enumerate(runs.items()):
        cells = [plain(differ[key][place]) for key in differ]
        cells += [] if even else [percent(number(weights.get(name)) or 0.0)]
        cells += [metric_text(metric, held.get(name))] if held else []
        for item in judged:
            scores = mapping(mapping(item["members"]).get(name))
            cells.append(metric_text(metric, number(scores.get(metric))))
        epochs = number(run.result.get("epochs"))
        best = run.best_epoch
        cells.append("–" if epochs is None else f"{best} of {epochs:.0f}")
        cells.append(duration(number(run.result.get("seconds")) or 0.0))
        rows.append({"name": name, "link": _link(folder, places[name]), "cells": cells})
    return {"heads": [*heads, "epoch kept", "time"], "words": len(differ), "rows": rows}


def _link(folder: Path, place: Path) -> str:
    """Give where a member's page is, seen from the page of the group; its folder if it has none."""
    target = place / "report.html" if (place / "report.html").exists() else place
    path = Path(os.path.relpath(target.resolve(), folder.resolve())).as_posix()
    return quote(path) + ("/" if target == place else "")


def _differing(runs: Mapping[str, Records]) -> dict[str, list[Any]]:
    """Give the settings that are not the same in all members."""
    flat = [
        {
            label(name): value
            for section in run.settings().values()
            for name, value in section.items()
            if name != "weights"
        }
        for run in runs.values()
    ]
    names = dict.fromkeys(name for one in flat for name in one)
    found = {name: [one.get(name) for one in flat] for name in names}
    return {
        name: values
        for name, values in found.items()
        if len({plain(value) for value in values}) > 1
    }


def nested_table(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Show what each fold chose inside; None if there was nothing to choose.

    Args:
        result: The result of the group.
    """
    found = mapping(result.get("nested"))
    if not found:
        return None
    metric = str(found["metric"])
    outer = sequence(mapping(mapping(result["scores"]).get(metric)).get("values"))
    names = list(mapping(sequence(found["scores"])[0]))
    rows = []
    for place, scores in enumerate(sequence(found["scores"])):
        chosen = sequence(found["by_fold"])[place]
        cells = [
            {"text": metric_text(metric, number(scores.get(name))), "best": name == chosen}
            for name in names
        ]
        score = metric_text(metric, outer[place]) if place < len(outer) else "–"
        rows.append({"fold": f"fold {place + 1}", "cells": cells, "outer": score})
    inside, mean = number(found.get("inside")), mapping(mapping(result["scores"])[metric])["mean"]
    return {
        "metric": metric_label(metric),
        "names": names,
        "rows": rows,
        "words": f"The chosen settings scored {metric_text(metric, inside)} inside, where they were"
        f" chosen, and {metric_text(metric, mean)} on rows that had no say in the choice. Report"
        " the second number.",
    }


def disputed_examples(own: Records, judged: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Show the examples on which members differ most; None if there are none.

    Args:
        own: What the group recorded.
        judged: What was measured of the members together, part by part.
    """
    items = [mapping(item) for item in sequence(own.evaluation.get("disputed"))]
    if not items:
        return None
    by_number = own.evaluation.get("regression") is not None
    shown, budget = [], _BYTES
    for item in items:
        answers = mapping(item.get("answers"))
        picture = Picture.read(item.get("picture"))
        picture = picture if len(picture.text) <= budget else Picture()
        budget -= len(picture.text)
        truth = plain(item.get("target"))
        votes = Counter(plain(answer) for answer in answers.values()).most_common(_VOTES)
        shown.append(
            {
                "id": plain(item.get("id")),
                "target": truth,
                "picture": picture,
                "votes": [(word, times, word == truth) for word, times in votes],
                "range": _range(answers.values()) if by_number else "",
                "answers": "; ".join(f"{name}: {plain(word)}" for name, word in answers.items()),
                "row": "; ".join(
                    f"{name} {plain(value)}" for name, value in mapping(item.get("row")).items()
                ),
            }
        )
    part = part_words(judged[-1]) if judged else "test"
    members = len(mapping(items[0].get("answers")))
    return {"part": part, "items": shown, "members": members, "numbers": by_number}


def _range(answers: Iterable[Any]) -> str:
    found = sorted(float(answer) for answer in answers)
    return f"{short(found[0])} to {short(found[-1])}"
