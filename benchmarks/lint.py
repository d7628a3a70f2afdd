"""Lint: time for 100,000 lines, and what is found, against TorchFix.

Two texts of 100,000 lines: the source of torch itself, as much of it as it takes, and training
programs, the clean and faulty ones of the tests over and over, each copy in a folder of its own.
Every run is a fresh process, timed by the wall clock with two processors; TorchFix uses both, as it
does by itself, and takes minutes for each: `--lines` and `--only fitwell` shorten that. What is
found is counted on the faulty programs of the tests, each of which names the line of its fault, on
the bad examples of the rules, and on the clean programs, where anything found is a false alarm.

    python benchmarks/lint.py --rounds 5
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import harness

from fitwell.core.records import append_record
from fitwell.lint import rules

LINES = 100_000
GOAL = 10.0  # seconds for them
NEAR = 2  # lines between a fault and what is found of it
PROGRAMS = Path(__file__).parent.parent / "tests" / "lint"
TORCHFIX = ("-m", "torchfix")
FITWELL = ("-m", "fitwell", "lint")
FAULT = re.compile(r"# fault: (\d+)")


def torch_source() -> Iterator[tuple[str, str]]:
    """Give path and text of files of torch."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise SystemExit("lint: torch is not installed.")
    root = Path(spec.origin).parent
    for part in ("nn", "optim", "utils", "distributed", "ao"):
        for path in sorted((root / part).rglob("*.py")):
            yield f"torch/{path.relative_to(root)}", path.read_text(encoding="utf-8")


def programs() -> Iterator[tuple[str, str]]:
    """Give path and text of training programs, over and over."""
    files = [
        (path.relative_to(PROGRAMS), path.read_text(encoding="utf-8"))
        for folder in ("clean", "faulty")
        for path in sorted((PROGRAMS / folder).rglob("*.py"))
    ]
    copy = 0
    while True:
        yield from ((f"copy{copy}/{path}", text) for path, text in files)
        copy += 1


def fill(folder: Path, files: Iterator[tuple[str, str]], lines: int) -> int:
    """Write files until they have so many lines; gives how many they have."""
    count = 0
    for name, text in files:
        if count >= lines:
            break
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        count += text.count("\n")
    return count


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a linter; 0 and 1 are what it says of files."""
    ended = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    if ended.returncode not in (0, 1):
        raise SystemExit(f"lint: {' '.join(command)} failed: {ended.stderr[-500:]}")
    return ended


def seconds(command: Sequence[str]) -> float:
    start = time.perf_counter()
    run(command)
    return time.perf_counter() - start


def found_by_fitwell(folder: Path) -> set[tuple[str, int]]:
    """Give file and line of what fitwell reports, hints apart."""
    result = json.loads(run((*FITWELL, str(folder), "--json")).stdout)
    return {(Path(one["file"]).name, one["line"]) for one in result["findings"]}


def found_by_torchfix(folder: Path) -> set[tuple[str, int]]:
    """Give file and line of what TorchFix reports.

    Of clean programs with the rules that it asks by itself, of all others with all its rules.
    """
    some = () if folder.name == "clean" else ("--select", "ALL")
    text = run((*TORCHFIX, *some, str(folder))).stdout
    lines = re.findall(r"^(.+?\.py):(\d+):\d+: TOR\d+", text, re.MULTILINE)
    return {(Path(name).name, int(line)) for name, line in lines}


def examples(folder: Path) -> None:
    """Write the bad examples of the rules."""
    for rule in rules().values():
        (folder / f"{rule.name.replace('-', '_')}.py").write_text(rule.bad, encoding="utf-8")


def count(found: Callable[[Path], set[tuple[str, int]]]) -> dict[str, int]:
    """Give how many faults a linter finds, and how many clean programs it complains of."""
    with tempfile.TemporaryDirectory() as name:
        examples(Path(name))
        shown = len({file for file, _ in found(Path(name))})
    faults = {
        path.name: int(told[1])
        for path in sorted((PROGRAMS / "faulty").glob("*.py"))
        if (told := FAULT.match(path.read_text(encoding="utf-8")))
    }
    marks = found(PROGRAMS / "faulty")
    near = {file for file, line in marks if abs(line - faults.get(file, -99)) <= NEAR}
    return {
        "faulty programs": len(faults),
        "found in them": len(near),
        "bad examples": len(rules()),
        "found of them": shown,
        "clean programs": len(list((PROGRAMS / "clean").rglob("*.py"))),
        "false alarms": len(found(PROGRAMS / "clean")),
    }


def measure(options: Namespace) -> None:
    started = time.perf_counter()
    lines = 2_000 if options.quick else options.lines
    torchfix = find_spec("torchfix") is not None and "fitwell" not in (options.only or ())
    found = {"fitwell": count(found_by_fitwell)}
    if torchfix:
        found["torchfix"] = count(found_by_torchfix)
    for name, row in found.items():
        print(name, row)
    for text, files in (("torch's source", torch_source()), ("training programs", programs())):
        folder = Path(tempfile.mkdtemp())
        try:
            size = fill(folder, files, lines)
            contestants = {"fitwell": functools.partial(seconds, (*FITWELL, str(folder)))}
            if torchfix:
                command = (*TORCHFIX, str(folder))
                contestants["torchfix"] = functools.partial(seconds, command)
            seconds((*FITWELL, str(folder)))  # so that the files are in the disk cache
            comparison = harness.compare(contestants, options.rounds)
        finally:
            shutil.rmtree(folder)
        print(f"{text}, {size:,} lines\n{harness.table(comparison, size)}")
        append_record(
            options.record,
            what=f"lint, {size:,} lines of {text}",
            method=" ".join(("fitwell", "lint")),
            result=comparison.to_dict(size),
            seeds=[0],
            seconds=time.perf_counter() - started,
            lines=size,
            goal_seconds=GOAL * size / LINES,
            found=found,
            clock="wall time of a fresh process",
            rounds=options.rounds,
            versions={"torchfix": metadata.version("torchfix")} if torchfix else {},
            quick=options.quick,
        )


def main() -> None:
    parser = harness.arguments(__doc__, "records/lint.jsonl")
    parser.add_argument("--lines", type=int, default=LINES, help="of each text")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    measure(options)


if __name__ == "__main__":
    main()
