"""Tables of measured numbers, made from ``records/*.jsonl`` and from nothing else."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fitwell.core.records import read_records

Record = Mapping[str, Any]

BENCHMARKS = {
    "engine": (
        "Training loop",
        "Examples per second of one training, fitwell against a hand-written PyTorch loop and other"
        " libraries on the same model and data, taken in turns. Made by `benchmarks/engine.py`.",
    ),
    "images": (
        "Image folder",
        "Images per second from a folder of JPEGs to batches: first epoch, later epochs, and a"
        " `DataLoader` with Pillow. Made by `benchmarks/images.py`.",
    ),
    "startup": (
        "Start-up",
        "Seconds until a command has done its first useful thing, each in a new process. Made by"
        " `benchmarks/startup.py`.",
    ),
    "estimator": (
        "Inside scikit-learn",
        "Seconds of a grid search, `fitwell.Classifier` against skorch with equal scores. Made by"
        " `benchmarks/estimator.py`.",
    ),
    "stream": (
        "Larger than memory",
        "An epoch over a file on disk, against reading it from end to end. Made by"
        " `benchmarks/stream.py`.",
    ),
    "lint": (
        "Lint",
        "Seconds for the source of torch and for training programs, fitwell against TorchFix, and"
        " what both find in programs with known faults. Made by `benchmarks/lint.py`.",
    ),
    "plan": (
        "Plans",
        "What `fitwell train --plan` predicts over what the training then takes. Made by"
        " `benchmarks/plan.py`.",
    ),
}
"""Title and description of each file of benchmark records; other files are shown by their names."""

WORDS = {
    "en": {
        "none": "*Not measured yet.*",
        "header": ("recipe", "data", "test part", "epochs", "time", "seeds", "machine"),
        "minutes": "min",
    },
    "zh": {
        "none": "*尚未测量。*",
        "header": ("配方", "数据", "测试集结果", "轮数", "用时", "种子", "机器"),
        "minutes": "分钟",
    },
}

_SHOWN_METRICS = ("accuracy", "rmse", "mse", "loss")
_SECONDS_PER_MINUTE = 60


def every(records: Path, name: str) -> tuple[Record, ...]:
    """Give the records of a file, oldest first; a file that is not there holds none.

    Args:
        records: Folder of the record files.
        name: Of the file, without ending.
    """
    file = records / f"{name}.jsonl"
    if not file.is_file() or not file.read_text(encoding="utf-8").strip():
        return ()
    return read_records(file)


def newest(records: Path, name: str) -> list[Record]:
    """Give the newest record of each thing on each machine, in the order of first appearance.

    Args:
        records: Folder of the record files.
        name: Of the file, without ending.
    """
    return list({(r["what"], machine(r)): r for r in every(records, name)}.values())


def recipe_table(records: Path, language: str = "en") -> str:
    """Give one line per recipe: what it reached, in what time, on which machine.

    Args:
        records: Folder of the record files.
        language: ``en`` or ``zh``.
    """
    words = WORDS[language]
    lines = []
    for record in newest(records, "recipes"):
        minutes = f"{record['seconds'] / _SECONDS_PER_MINUTE:.3g} {words['minutes']}"
        seeds = ", ".join(map(str, record["seeds"]))
        reached = main_metric(record["result"].get("test") or record["result"])
        if reached == "–":  # it compares several trainings; its own page shows them
            continue
        epochs = number(record.get("epochs"))
        data = record.get("data", "–").partition(":")[0]
        lines.append([record["what"], data, reached, epochs, minutes, seeds, machine(record)])
    return table(words["header"], lines) if lines else str(words["none"])


def main_metric(scores: Mapping[str, Any]) -> str:
    """Give the metric that a result is known by, such as ``accuracy 0.92``.

    Args:
        scores: Metrics by name.
    """
    for name in _SHOWN_METRICS:
        if isinstance(scores.get(name), (int, float)):
            return f"{name} {number(scores[name])}"
    return "–"


def recipes_page(records: Path) -> str:
    """Give the page of reproduced results.

    Args:
        records: Folder of the record files.
    """
    parts = [
        "# Recipes",
        "Each file in `recipes/` trains one model that is known from the literature and appends"
        " what it reached to `records/recipes.jsonl`. Run one again with `python recipes/NAME.py`;"
        " it resumes if it was stopped.",
        recipe_table(records),
    ]
    for record in newest(records, "recipes"):
        parts += [f"## {record['what']}", f"```text\n{record['method']}\n```"]
        result = record["result"]
        splits = {name: scores for name, scores in result.items() if isinstance(scores, Mapping)}
        parts.append(result_table(splits or result))
        parts.append(f"{record['data']}. {facts(record)}" if "data" in record else facts(record))
        same = [r for r in every(records, "recipes") if r["what"] == record["what"]]
        earlier = [r for r in same if r["date"] < record["date"]]
        if earlier:
            parts += ["Before it:", "\n".join(map(earlier_line, reversed(earlier)))]
    return "\n\n".join(parts) + "\n"


def earlier_line(record: Record) -> str:
    """Say in a line what an older record of a recipe reached, and how.

    Args:
        record: The record.
    """
    reached = main_metric(record["result"].get("test") or record["result"])
    return f"- {record['date'][:10]}: test {reached} by `{cell(record['method'])}`"


def benchmark_page(records: Path) -> str:
    """Give the page of speed measurements.

    Args:
        records: Folder of the record files.
    """
    parts = [
        "# Benchmarks",
        "Medians of repeated measurements; `make bench` repeats them. Contestants take turns. A"
        " ratio is a contestant's time over that of the one without a ratio, within each turn. Its"
        " range holds the median with a probability of 0.95 or more, given six rounds or more.",
    ]
    others = [file.stem for file in sorted(records.glob("*.jsonl")) if file.stem != "recipes"]
    more = {name: (name.capitalize(), "") for name in others if name not in BENCHMARKS}
    for name, (title, about) in (BENCHMARKS | more).items():
        parts += [f"## {title}", about] if about else [f"## {title}"]
        found = newest(records, name)
        if not found:
            parts.append(str(WORDS["en"]["none"]))
        for record in found:
            parts += [f"### {record['what']}", f"`{record['method']}`"]
            parts += [result_table(record["result"]), conditions(record), facts(record)]
    return "\n\n".join(parts) + "\n"


def result_table(result: Mapping[str, Any]) -> str:
    """Set a result as tables: one of contestants, one per group of numbers, one of plain numbers.

    Args:
        result: Numbers, lists of numbers, or mappings to them, by name. A mapping with a `median`
            is a contestant, also within `contestants`; other mappings in mappings are left out.
    """
    flat = {k: v for k, v in result.items() if k != "contestants"} | result.get("contestants", {})
    groups = {name: value for name, value in flat.items() if isinstance(value, Mapping) and value}
    contestants = {name: value for name, value in groups.items() if "median" in value}
    plain = {name: value for name, value in flat.items() if not isinstance(value, Mapping)}
    rows = {name: value for name, value in groups.items() if name not in contestants}
    parts = []
    if contestants:
        parts.append(contest_table(contestants))
        for name, value in rows.items():
            lines = [[key, number(one)] for key, one in value.items()]
            title = "measured" if name == "goals" else name.replace("_", " ")
            parts.append(table(("", title), lines))
    elif rows:
        keys = (
            k for value in rows.values() for k, v in value.items() if not isinstance(v, Mapping)
        )
        columns = list(dict.fromkeys(keys))
        lines = [[name, *(number(v.get(c)) for c in columns)] for name, v in rows.items()]
        parts.append(table(("", *columns), lines))
    if plain:
        lines = [[name.replace("_", " "), number(value)] for name, value in plain.items()]
        parts.append(table(("", "measured"), lines))
    return "\n\n".join(parts) or str(WORDS["en"]["none"])


def contest_table(contestants: Mapping[str, Mapping[str, Any]]) -> str:
    """Set contestants side by side, the fastest first.

    Args:
        contestants: Median and range of the seconds, and ratios, by name.
    """
    fast_first = sorted(contestants.items(), key=lambda item: item[1]["median"])
    columns: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "median s": lambda row: number(row["median"]),
        "range s": lambda row: f"{number(row.get('min'))} to {number(row.get('max'))}",
        "samples/s": lambda row: number(row.get("samples_per_second")),
        "ratio": lambda row: number(row.get("ratio")),
        "its range": _interval,
        "train accuracy": lambda row: number(row.get("train_accuracy")),
    }
    lines = [[name, *(show(row) for show in columns.values())] for name, row in fast_first]
    said = [place for place in range(len(columns) + 1) if {line[place] for line in lines} != {"–"}]
    header = ["", *columns]
    return table([header[i] for i in said], [[line[i] for i in said] for line in lines])


def _interval(row: Mapping[str, Any]) -> str:
    ends = row.get("interval")
    return f"{number(ends['low'])} to {number(ends['high'])}" if ends else "–"


def conditions(record: Record) -> str:
    """Say how a benchmark was measured: clock, rounds, threads and what else it recorded.

    Args:
        record: The record.
    """
    known = {"what", "method", "result", "seeds", "seconds", "machine", "versions", "commit"}
    more = {name: value for name, value in record.items() if name not in known | {"date"}}
    words = [f"{name.replace('_', ' ')} {number(value)}" for name, value in more.items()]
    return f"Measured with: {', '.join(words)}." if words else ""


def facts(record: Record) -> str:
    """Say where and when a record was made.

    Args:
        record: The record.
    """
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    commit = record.get("commit")
    made = f"Commit `{commit[:12]}`, " if commit else ""
    return f"{machine(record)}. {made}{record['date'][:10]}; {versions}."


def machine(record: Record) -> str:
    """Describe the machine of a record in a few words.

    Args:
        record: The record.
    """
    found = record["machine"]
    threads = f", {record['threads']} threads" if "threads" in record else ""
    return f"{found.get('gpu') or found['cpu']}, {found['cores']} cores{threads}"


def number(value: object) -> str:
    """Write a number with four digits, or more if it is whole; of a list its median.

    Args:
        value: A number, a list of numbers, or a word.
    """
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)) and value:
        return number(statistics.median(value))
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {number(one)}" for name, one in value.items())
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return cell(str(value))
    return f"{value:,}" if isinstance(value, int) else _rounded(value)


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Set rows as a Markdown table; everything but the first column is flush right.

    Args:
        header: Titles.
        rows: Cells.
    """
    rule = "|---|" + "---:|" * (len(header) - 1)
    lines = ["| " + " | ".join(cell(word) for word in row) + " |" for row in (header, *rows)]
    return "\n".join([lines[0], rule, *lines[1:]])


def cell(text: str) -> str:
    """Keep a text within its cell of a Markdown table.

    Args:
        text: The text.
    """
    return " ".join(text.split()).replace("|", "\\|")
