"""The list of runs: read once, then only what changed, whatever a folder holds."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.ui import _files
from fitwell.ui._files import Tail
from fitwell.ui._listing import Listing
from fitwell.ui._rows import points, thin
from fitwell.verbs._lookup import list_runs

from ..report.run_factory import DIGITS, make_killed_run, make_run, run_record, write, write_lines

EPOCH = {
    "kind": "epoch", "epoch": 8, "step": 288, "lr": 0.001, "seconds": 2.0,
    "examples_per_second": 100.0, "train": {"loss": 0.2}, "valid": {"loss": 0.3, "accuracy": 0.99},
}  # fmt: skip


def kinds(listing: Listing) -> list[tuple[str, str]]:
    return [(change.kind, change.run) for change in listing.refresh()]


def append(folder: Path, *records: dict[str, Any]) -> None:
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(record) + "\n" for record in records))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A finished run, and one a folder deeper that trains, after seven epochs."""
    folder = tmp_path / "runs"
    make_run(folder / "digits", pictures=False, epochs=5)
    write(
        folder / "sweep/one",
        "run.json",
        {**run_record(DIGITS, epochs=30, lr=0.1), "status": "running"},
    )
    shutil.copy(make_killed_run(tmp_path / "other") / "metrics.jsonl", folder / "sweep/one")
    text = (folder / "sweep/one/metrics.jsonl").read_text()
    (folder / "sweep/one/metrics.jsonl").write_text(text[: text.rindex("\n") + 1])
    return folder


def test_the_same_runs_as_on_the_command_line(runs: Path) -> None:
    listing = Listing(runs)
    listing.refresh()
    told = {row["name"]: row for row in listing.rows()}
    listed = {str(Path(r["run"]).relative_to(runs)): r for r in list_runs(runs).to_dict()["runs"]}
    assert told.keys() == listed.keys() == {"digits", "sweep/one"}
    for name, row in told.items():
        for key in ("task", "model", "status", "epochs"):
            assert row[key] == listed[name][key]
    assert told["digits"]["score"] == listed["digits"]["valid"]["accuracy"]
    assert (told["digits"]["metric"], told["digits"]["data"]) == ("accuracy", "digits")
    assert told["sweep/one"]["planned"] == 30
    assert len(told["sweep/one"]["curve"]) == 7


def test_nothing_is_read_that_did_not_change(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = Listing(runs)
    assert sorted(kinds(listing)) == [("run", "digits"), ("run", "sweep/one")]
    read: list[Path] = []
    real = _files.read_bytes

    def watched(file: Path, **where: int) -> bytes:
        read.append(file)
        return real(file, **where)

    for module in ("_files", "_rows"):
        monkeypatch.setattr(f"fitwell.ui.{module}.read_bytes", watched)
    assert kinds(listing) == []
    assert read == []
    append(runs / "sweep/one", EPOCH)
    assert kinds(listing) == [("lines", "sweep/one"), ("run", "sweep/one")]
    assert {file.parent for file in read} == {runs / "sweep/one"}


def test_new_lines_are_given_once_and_whole(runs: Path) -> None:
    listing, folder = Listing(runs), runs / "sweep/one"
    listing.refresh()
    size = (folder / "metrics.jsonl").stat().st_size
    line = json.dumps(EPOCH) + "\n"
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(line[:40])
        file.flush()
        assert kinds(listing) == [("run", "sweep/one")]  # no whole line yet; only the time changed
        file.write(line[40:])
    changes = listing.refresh()
    assert [change.kind for change in changes] == ["lines", "run"]
    assert changes[0].data["start"] == size
    assert changes[0].data["end"] == size + len(line)
    assert changes[0].data["epochs"] == [
        {
            "epoch": 8, "step": 288, "lr": 0.001, "seconds": 2.0, "speed": 100.0,
            "train": {"loss": 0.2}, "valid": {"loss": 0.3, "accuracy": 0.99},
        }
    ]  # fmt: skip
    assert changes[1].data["score"] == 0.99
    detail = listing.detail("sweep/one")
    assert detail is not None
    assert detail["end"] == size + len(line)
    assert len(detail["epochs"]) == 8


@pytest.mark.parametrize("shorter", [True, False])
def test_metrics_that_are_taken_back_are_told(runs: Path, shorter: bool) -> None:
    listing, folder = Listing(runs), runs / "sweep/one"
    listing.refresh()
    text = (folder / "metrics.jsonl").read_text()
    lines = text.splitlines(keepends=True)
    kept = lines[:100] if shorter else [*lines[:-1], lines[-1].replace("e", "f"), *lines]
    (folder / "metrics.jsonl").write_text("".join(kept))
    assert kinds(listing) == [("rewound", "sweep/one"), ("run", "sweep/one")]
    row = listing.row("sweep/one")
    assert row is not None
    assert row["epochs"] == (2 if shorter else 7)


def test_runs_appear_and_vanish(runs: Path) -> None:
    listing = Listing(runs)
    listing.refresh()
    shutil.rmtree(runs / "digits")
    make_run(runs / "new", pictures=False, epochs=2)
    assert kinds(listing) == [("gone", "digits"), ("run", "new")]
    assert listing.row("digits") is listing.path("digits") is listing.detail("digits") is None
    shutil.rmtree(runs)
    assert sorted(kinds(listing)) == [("gone", "new"), ("gone", "sweep/one")]
    assert kinds(Listing(runs / "missing")) == []


def test_a_killed_run_is_told_from_a_running_one(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = runs / "sweep/one"
    old = os.stat(folder / "run.json").st_mtime - 3600
    for file in folder.iterdir():
        os.utime(file, (old, old))
    (folder / ".lock").write_text(str(os.getpid()))
    listing = Listing(runs)
    listing.refresh()
    row = listing.row("sweep/one")
    assert row is not None
    assert row["status"] == "running"
    (folder / ".lock").write_text("99999999")
    assert kinds(listing) == [("run", "sweep/one")]  # found without any change of a watched file
    row = listing.row("sweep/one")
    assert row is not None
    assert row["status"] == "killed"
    assert row["notes"] == [f"no process trains it; go on with: fitwell resume {folder}"]


DAMAGE: dict[str, dict[str, str]] = {
    "half": {"run.json": '{"status": "fin'},
    "list": {"run.json": "[1, 2]"},
    "deep": {"run.json": "[" * 100_000},
    "bytes": {"run.json": "\x00\x01"},
    "types": {"run.json": '{"status": 3, "task": [], "settings": 7, "data": [1], "created": {}}'},
    "numbers": {
        "run.json": '{"settings": {"optimization": {"epochs": "x"}, "loss": {"metric": []}}}',
        "metrics.jsonl": '{"kind": "epoch", "epoch": 1, "valid": {"loss": NaN, "mse": 1e999}}\n'
        '{"kind": "epoch", "epoch": 2, "step": 3, "valid": [], "train": 3}\n7\n\n{"valid": 1',
    },
    "result": {"run.json": '{"status": "finished"}', "result.json": "not JSON"},
    "whole": {"run.json": f'{{"settings": {{"optimization": {{"epochs": 1{"0" * 400}}}}}}}'},
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_is_listed_with_a_note(runs: Path, name: str) -> None:
    for file, content in DAMAGE[name].items():
        (runs / name).mkdir(exist_ok=True)
        (runs / name / file).write_text(content)
    listing = Listing(runs)
    listing.refresh()
    row, detail = listing.row(name), listing.detail(name)
    assert row is not None
    json.dumps([row, detail], allow_nan=False)
    if name in ("half", "list", "deep", "bytes"):
        assert row["status"] == "damaged"
    if name not in ("types", "numbers", "whole"):
        assert "cannot be read" in row["notes"][0]
    assert {"digits", "sweep/one"} < {other["name"] for other in listing.rows()}


def test_links_out_of_the_folder_are_refused(runs: Path, tmp_path: Path) -> None:
    outside = make_run(tmp_path / "outside" / "secret", pictures=False, epochs=2)
    (runs / "linked").symlink_to(outside, target_is_directory=True)
    (runs / "parent").symlink_to(tmp_path, target_is_directory=True)
    (runs / "self").symlink_to(runs, target_is_directory=True)
    (runs / "latest").symlink_to(runs / "digits", target_is_directory=True)
    (runs / "file").mkdir()
    (runs / "file" / "run.json").symlink_to(outside / "run.json")
    (runs / "pipe").mkdir()
    (runs / "pipe" / "run.json").write_text('{"status": "finished"}')
    os.mkfifo(runs / "pipe" / "metrics.jsonl")
    listing = Listing(runs)
    listing.refresh()
    names = {row["name"] for row in listing.rows()}
    assert names == {"digits", "latest", "sweep/one", "file", "pipe"}
    row, pipe = listing.row("file"), listing.row("pipe")
    assert row is not None
    assert pipe is not None
    assert (row["status"], row["model"]) == ("damaged", None)
    assert "metrics.jsonl" in pipe["notes"][0]


def test_a_name_that_is_no_text_can_still_be_asked_for(runs: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(runs) + b"/\xff\xfe"))
    try:
        make_run(odd, pictures=False, epochs=2)
    except OSError:
        pytest.skip("this file system takes only Unicode names")
    listing = Listing(runs)
    listing.refresh()
    assert listing.path(r"\xff\xfe") == odd


def test_many_runs_are_read_a_part_at_a_time_newest_first(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / f"run{number}", "run.json", {"status": "finished"})
        os.utime(tmp_path / f"run{number}" / "run.json", (1000 + number, 1000 + number))
    listing = Listing(tmp_path)
    order = []
    for left in (4, 3, 2, 1, 0, 0):
        order += [change.run for change in listing.refresh(most_seconds=0)]
        assert listing.pending == left
    assert order == ["run4", "run3", "run2", "run1", "run0"]


@given(
    pieces=st.lists(st.binary(max_size=12) | st.just(b"\n") | st.just(b"a\nb\n"), max_size=20),
    cut=st.integers(0, 30),
)
@settings(max_examples=60, deadline=None)
def test_a_file_read_piece_by_piece_gives_its_lines(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], cut: int
) -> None:
    file = tmp_path_factory.mktemp("tail") / "lines"
    tail, found = Tail(file=file), []
    written = b""
    for piece in pieces:
        written += piece
        file.write_bytes(written)
        anew, lines = tail.read()
        assert not anew
        found += lines
    assert found == written.split(b"\n")[:-1]
    end = tail.end
    assert end == written.rfind(b"\n") + 1
    shorter = written[: max(0, end - 1 - cut)]
    file.write_bytes(shorter)
    anew, lines = tail.read()
    assert anew == (end > 0)
    if anew:
        assert lines == shorter.split(b"\n")[:-1]


def test_a_later_line_replaces_an_earlier_one_of_its_step() -> None:
    lines: list[dict[str, Any]] = [
        {"kind": "step", "step": 2, "loss": 1.0, "lr": 0.1},
        {"kind": "step", "step": 1, "loss": 3.0},
        {"kind": "step", "step": 2, "loss": 5.0, "lr": 0.2},
        {"kind": "step", "step": True, "loss": 5.0},
        {"kind": "other", "step": 9},
    ]
    assert points(lines) == {"steps": [[1, 3.0, None], [2, 5.0, 0.2]], "epochs": []}


@given(count=st.integers(0, 500), most=st.integers(1, 100))
def test_thinning_keeps_both_ends_and_a_steady_pace(count: int, most: int) -> None:
    kept = thin(range(count), most)
    assert len(kept) <= most + 1
    assert kept[:1] + kept[-1:] == list(range(count))[:1] + list(range(count))[-1:]
    gaps = [b - a for a, b in itertools.pairwise(kept)]
    assert len(set(gaps[:-1])) <= 1
    if count <= most:
        assert kept == list(range(count))


def test_the_curve_of_a_long_run_is_short(tmp_path: Path) -> None:
    rows = [
        {"kind": "epoch", "epoch": n, "step": n, "train": {"loss": 1 / n}, "valid": {}}
        for n in range(1, 1001)
    ]
    write(tmp_path / "long", "run.json", {"status": "running"})
    write_lines(tmp_path / "long", rows)
    listing = Listing(tmp_path)
    listing.refresh()
    row = listing.row("long")
    assert row is not None
    assert len(row["curve"]) <= 49
    assert (row["metric"], row["score"], row["best_epoch"]) == ("loss", 0.001, 1000)
