"""What stands between ``<!-- numbers: NAME -->`` and ``<!-- end of numbers -->`` in the pages.

Each block is made from ``records/*.jsonl``. A file or a record that is not there is said to be not
measured yet.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from numbers_from_records import (
    WORDS,
    Record,
    conditions,
    every,
    machine,
    newest,
    number,
    recipe_table,
    result_table,
    table,
)

_BLOCK = re.compile(r"(<!-- numbers: (?P<name>.+?) -->\n).*?(<!-- end of numbers -->)", re.DOTALL)
_MINUTE = 60


def filled(text: str, language: str, records: Path) -> str:
    """Give a page with its blocks of numbers brought up to date.

    Args:
        text: The page.
        language: ``en`` or ``zh``.
        records: Folder of the record files.

    Raises:
        ValueError: A block has a name that is not in `BLOCKS`.
    """

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name == "recipes":
            return f"{match[1]}{recipe_table(records, language)}\n{match[3]}"
        if name not in BLOCKS:
            raise ValueError(
                f"numbers: `{name}` must be one of recipes, {', '.join(BLOCKS)}. Correct the"
                " comment, or write the block in docs/number_blocks.py."
            )
        return f"{match[1]}{BLOCKS[name](records) or WORDS[language]['none']}\n{match[3]}"

    return _BLOCK.sub(block, text)


def option(record: Record, name: str) -> str:
    """Give what a recipe chose on the command line; a dash if it left that to fitwell.

    Args:
        record: Of a recipe whose method is a command.
        name: Of the option.
    """
    words = shlex.split(record["method"])
    return words[words.index(name) + 1] if name in words else "–"


def recipes(names: Sequence[str], history: bool = False) -> Callable[[Path], str]:
    """Make a block about image recipes.

    Args:
        names: How the names of the recipes begin.
        history: Whether older records are shown too.
    """

    def block(records: Path) -> str:
        found = every(records, "recipes") if history else newest(records, "recipes")
        lines = [
            [
                record["what"],
                option(record, "--model"),
                option(record, "--augment"),
                number(record.get("parameters")),
                number(record.get("epochs")),
                f"{record['seconds'] / _MINUTE:.3g}",
                number(record["result"].get("train", {}).get("accuracy")),
                number(record["result"]["test"]["accuracy"]),
            ]
            for record in found
            if record["what"].startswith(tuple(names)) and "test" in record["result"]
        ]
        header = ("recipe", "model", "augmentation", "weights", "epochs", "minutes")
        return table((*header, "train", "test"), lines) if lines else ""

    return block


def engine(records: Path) -> str:
    """Set the speed of the training loop beside that of others, a column per contest.

    Args:
        records: Folder of the record files.
    """
    found = newest(records, "engine")
    titles = [record["what"].removeprefix("training speed, digits ") for record in found]
    names = _names(record["result"] for record in found)
    lines = [["samples/s of fitwell"], *([name] for name in names if name != "fitwell")]
    for record in found:
        result = record["result"]
        lines[0].append(number(result["fitwell"]["samples_per_second"]))
        for line in lines[1:]:
            line.append(number(result.get(line[0], {}).get("ratio")))
    return table(("", *titles), lines) if found else ""


def _names(results: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for result in results for name in result))


def folder(history: bool = False) -> Callable[[Path], str]:
    """Make a block about images of a folder.

    Args:
        history: Whether older records are shown too.
    """

    def block(records: Path) -> str:
        found = every(records, "images") if history else newest(records, "images")
        lines = [
            [
                record["what"].rpartition(", ")[2],
                number(record["images"]),
                *(number(record["result"].get(name)) for name in _FOLDER.values()),
            ]
            for record in found
        ]
        return table(("files", "how many", *_FOLDER), lines) if lines else ""

    return block


_FOLDER = {
    "first epoch, images/s": "first_epoch_images_per_second",
    "DataLoader, images/s": "dataloader_images_per_second",
    "first epoch over DataLoader": "first_epoch_over_dataloader",
    "later epochs, images/s": "later_epochs_images_per_second",
}


def whole(name: str) -> Callable[[Path], str]:
    """Make a block of all that the newest records of a file say.

    Args:
        name: Of the file, without ending.
    """

    def block(records: Path) -> str:
        parts = []
        for record in newest(records, name):
            parts += [f"{record['what'].capitalize()}, {machine(record)}:"]
            parts += [result_table(record["result"]), conditions(record)]
        return "\n\n".join(part for part in parts if part)

    return block


def contests(name: str) -> Callable[[Path], str]:
    """Make a block of contests between others and fitwell, a line per contest.

    Args:
        name: Of the file, without ending.
    """

    def block(records: Path) -> str:
        found = newest(records, name)
        others = [who for who in _names(record["result"] for record in found) if who != "fitwell"]
        lines = []
        for record in found:
            result = record["result"]
            ratios = [number(result.get(who, {}).get("ratio")) for who in others]
            lines.append([record["what"], number(1000 * result["fitwell"]["median"]), *ratios])
        return table(("", "fitwell, ms", *others), lines) if found else ""

    return block


def watching(records: Path) -> str:
    """Set loops beside the same with a watch, a line per model.

    Args:
        records: Folder of the record files.
    """
    found = newest(records, "watch")
    others = ("without", "histograms", "cockpit economy")
    lines = []
    for record in found:
        result = record["result"]
        shares = sorted(result["own share"])
        lines.append(
            [
                record["what"].removeprefix("watching "),
                number(result["fitwell"]["median"]),
                *(_with_range(result.get(who)) for who in others),
                f"{100 * shares[len(shares) // 2]:.1f} %",
            ]
        )
    return table(("", "fitwell, s", *others, "own account"), lines) if found else ""


def _with_range(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return number(None)
    low, high = (number(row["interval"][end]) for end in ("low", "high"))
    return f"{number(row['ratio'])} ({low} to {high})"


def populations(records: Path) -> str:
    """Set the time of a population beside that of others, a line per case.

    Args:
        records: Folder of the record files.
    """
    found = newest(records, "population")
    others = [who for who in _names(record["result"] for record in found) if who != "fitwell"]
    lines = []
    for record in found:
        result = record["result"]
        ratios = [number(result.get(who, {}).get("ratio")) for who in others]
        what = record["what"].removeprefix("population, ")
        lines.append([what, number(result["fitwell"]["median"]), record["chosen"], *ratios])
    return table(("", "fitwell, s", "chosen", *others), lines) if found else ""


def races(name: str, other: str) -> Callable[[Path], str]:
    """Make a block of the contests within the newest record, a line per contest.

    Args:
        name: Of the file, without ending.
        other: The contestant besides fitwell.
    """

    def block(records: Path) -> str:
        parts = []
        for record in newest(records, name):
            lines = [
                [
                    race["method"],
                    number(1000 * race["fitwell"]["median"]),
                    number(race[other]["ratio"]),
                    " to ".join(number(race[other]["interval"][end]) for end in ("low", "high")),
                ]
                for race in ({**row, **row["contestants"]} for row in record["result"].values())
            ]
            parts += [f"{record['what'].capitalize()}, {machine(record)}:"]
            parts += [table(("", "fitwell, ms", f"{other} over fitwell", "range"), lines)]
            parts += [conditions(record)]
        return "\n\n".join(parts)

    return block


def claims(start: str) -> Callable[[Path], str]:
    """Make a block of what recipes found for each way that they compare.

    Args:
        start: How the names of the recipes begin.
    """

    def block(records: Path) -> str:
        found = [r for r in newest(records, "recipes") if r["what"].startswith(start)]
        parts = []
        for record in found:
            count = len(record["seeds"])
            seeds = "1 seed" if count == 1 else f"{count} seeds"
            parts += [f"{record['what'][0].upper()}{record['what'][1:]}, {seeds}:"]
            rows = {name: _without_lists(row) for name, row in record["result"].items()}
            parts += [result_table(rows)]
        return "\n\n".join(parts)

    return block


def _without_lists(row: Any) -> Any:
    if not isinstance(row, Mapping):
        return row
    return {name: value for name, value in row.items() if not name.endswith(_EACH)}


_EACH = ("each", "of each seed")
"""What a recipe keeps of single seeds; a table has room for their mean."""


def covid(records: Path) -> str:
    """Set both cuts of the COVID survey side by side, a line per rung of the ladder.

    Args:
        records: Folder of the record files.
    """
    found = {record["what"]: record["result"] for record in newest(records, "recipes")}
    cuts = [found[name] for name in ("covid_hw1 random", "covid_hw1 states") if name in found]
    lines = []
    for name in _names(cut.get("references", {}) for cut in cuts):
        values = [number(cut["references"].get(name)) for cut in cuts]
        lines.append([name, "–", "–", *values])
    for name in _names(cuts):
        if name != "references":
            rungs = [cut.get(name, {}) for cut in cuts]
            size = [number(rungs[0].get(key)) for key in ("features", "parameters")]
            lines.append([name, *size, *(number(rung.get("mse")) for rung in rungs)])
    titles = ("random cut", "whole states")[: len(cuts)]
    return table(("squared error", "features", "weights", *titles), lines) if lines else ""


def ladder(records: Path) -> str:
    """Set the rungs of the image ladder one below the other, then what each part of the boss gains.

    Args:
        records: Folder of the record files.
    """
    known = newest(records, "recipes")
    found = [r for rung in _RUNGS for r in known if r["what"] == f"ladder {rung}"]
    lines = []
    for record in found:
        test = record["result"]["test"]
        lines.append(
            [
                record["what"].removeprefix("ladder "),
                number(test["accuracy"]),
                _range(test),
                number(record["models"]),
                number(record["parameters"]),
                number(record["epochs"]),
                f"{record['seconds'] / _MINUTE:.3g}",
            ]
        )
    header = ("rung", "test accuracy", "95% interval", "models", "weights", "epochs", "minutes")
    parts = [table(header, lines)] if lines else []
    gains = {
        name: row
        for record in found
        for name, row in record["result"].items()
        if name.startswith("gain of ")
    }
    if gains:
        rows = [
            [name.removeprefix("gain of "), f"{row['accuracy']:+.4f}", _range(row)]
            for name, row in gains.items()
        ]
        parts += ["Of the boss:", table(("what helps", "gain", "95% interval"), rows)]
    return "\n\n".join(parts)


_RUNGS = ("simple", "medium", "strong", "boss")


def _range(row: Mapping[str, Any]) -> str:
    return f"{number(row['low'])} to {number(row['high'])}"


BLOCKS: Mapping[str, Callable[[Path], str]] = {
    "image recipes": recipes(("mnist_lenet5", "fashion_mnist_cnn", "cifar10_resnet20")),
    "pooling": recipes(("cifar10_pooling",)),
    "lenet history": recipes(("mnist_lenet5",), history=True),
    "resnet history": recipes(("cifar10_resnet20",), history=True),
    "engine": engine,
    "image folder": folder(),
    "image folder history": folder(history=True),
    "start-up": whole("startup"),
    "grid search": whole("estimator"),
    "stream": whole("stream"),
    "plan": whole("plan"),
    "options": whole("options"),
    "optim": contests("optim"),
    "hessian": contests("hessian"),
    "watch": watching,
    "population": populations,
    "augment": races("augment", "kornia"),
    "normalization": claims("normalization"),
    "finetune": claims("finetune"),
    "ladder": ladder,
    "large batches": claims("large batches"),
    "swap": claims("swap"),
    "rotation": claims("rotation"),
    "spatial transformer": claims("spatial transformer"),
    "go pooling": claims("go, pooling"),
    "depth width": claims("depth and width"),
    "frequency filters": claims("frequency filters"),
    "text cnn": claims("text cnn"),
    "covid": covid,
}
"""What each block says, by name; nothing where there is no record."""
