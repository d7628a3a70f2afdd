"""Small runs and small files that the tests of verbs share."""

from __future__ import annotations

import csv
import json
import random
import shutil
from pathlib import Path
from typing import Any

import fitwell
from fitwell.cli import main
from fitwell.train import Run

QUICK: dict[str, Any] = {
    "model": "MLP(hidden=(16,), dropout=0.1)",
    "batch_size": 64,
    "epochs": 2,
    "log_every": 5,
    "device": "cpu",
    "report": False,
    "quiet": True,
}
TIMED = ("seconds", "examples_per_second")
CITIES = ("Bonn", "Kiel", "Ulm")


def quick(source: Any, *more: Any, **changes: Any) -> Run:
    return fitwell.train(source, *more, **{**QUICK, **changes})


def curve(run: Run | Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without the times."""
    folder = run.folder if isinstance(run, Run) else run
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMED} for line in lines]


def weights(run: Run | Path) -> bytes:
    folder = run.folder if isinstance(run, Run) else run
    return (folder / "model.safetensors").read_bytes()


def manifest(run: Run | Path) -> dict[str, Any]:
    folder = run.folder if isinstance(run, Run) else run
    loaded: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return loaded


def copied(run: Run, target: Path) -> Path:
    shutil.copytree(run.folder, target)
    return target


def house(number: int) -> dict[str, str]:
    """A row whose price follows from the others, and whose size is missing now and then."""
    draw = random.Random(number)
    size, rooms, city = draw.uniform(30, 150), draw.randint(1, 6), draw.choice(CITIES)
    price = 3 * size + 20 * rooms + 50 * CITIES.index(city) + draw.gauss(0, 5)
    return {
        "id": f"{number:04d}",
        "size": "" if number % 17 == 3 else f"{size:.2f}",
        "rooms": str(rooms),
        "city": city,
        "price": f"{price:.3f}",
        "kind": "large" if price > 380 else "small",
    }


def houses(path: Path, count: int = 120, first: int = 0, without: tuple[str, ...] = ()) -> Path:
    rows = [house(number) for number in range(first, first + count)]
    return table(path, [{k: v for k, v in row.items() if k not in without} for row in rows])


def table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_of(path: Path | str) -> list[list[str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def call(capsys: Any, *words: str | Path) -> tuple[int, dict[str, Any], str]:
    """Run the command line in this process: exit code, the JSON object, and stderr."""
    capsys.readouterr()
    code = main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err
