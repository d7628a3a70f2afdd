"""Copies of a run on another disk, kept up to date while it trains, and brought back from there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, final

from ...core.errors import RunError, UsageError
from ...core.runs import is_run
from .._checkpoints import Checkpoints

if TYPE_CHECKING:
    from .._trainer import Trainer

_BLOCK = 2**22
_FIRST = ("run.json", "split.npz", "metrics.jsonl")
_COPYING = ".copying-"
_WRITING = ".writing-copy-"  # a training that goes on with the copy removes what is left of it


@final
class CopyOut:
    """Copy each new checkpoint, with settings and metrics, to another folder during the training.

    For machines that vanish: what was trained is lost back to the newest checkpoint in the copy.
    The copy is a run: ``fitwell resume FOLDER`` goes on with it. A folder that is full or gone does
    not stop training; that is said once, and again at the end. Put it after `CheckpointWriter`.
    TensorBoard events and checkpoints that were replaced between two looks are not copied.

    Args:
        run: Folder of the run.
        folder: Where the copy goes, on another disk. The folder it lies in must be there, so that a
            drive that is not mounted is noticed.
        every_seconds: Time between looks for something new.

    Raises:
        UsageError: `every_seconds` is not positive.
    """

    def __init__(self, run: str | Path, folder: str | Path, every_seconds: float = 60.0) -> None:
        if not every_seconds > 0:
            raise UsageError(f"CopyOut: `every_seconds` must be positive; got {every_seconds}.")
        self.run = Path(run)
        self.folder = Path(folder)
        self.every_seconds = every_seconds
        self.problem: str | None = None
        self._said: str | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        """Begin to look for new checkpoints.

        Args:
            trainer: At the start.

        Raises:
            RunError: The folder holds something else, or is ahead of this run.
        """
        if _is_same(self.run, self.folder):  # a copy that is trained itself
            return
        check_copy(self.run, self.folder)
        self._ended.clear()
        self._thread = threading.Thread(target=self._look, name="fitwell copies", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(self.every_seconds):
            self._copy()

    def _copy(self) -> None:
        try:
            copy_run(self.run, self.folder)
            self.problem = None
        except (OSError, RunError) as err:
            self.problem = " ".join(str(err).split())

    def on_step(self, trainer: Trainer) -> None:
        """Say on the main thread what went wrong on the other one.

        Args:
            trainer: After a step.
        """
        if self.problem is not None and self._said is None:
            self._said = self.problem
            _say(
                f"the copy in {self.folder} failed ({self.problem}); training goes on, and it is"
                f" tried again every {self.every_seconds:g} s."
            )

    def on_fit_end(self, trainer: Trainer) -> None:
        """Copy the end of the training.

        Args:
            trainer: At the end.
        """
        if self._thread is None:
            return
        self._ended.set()
        self._thread.join()
        self._thread = None
        self.finish()

    def finish(self) -> None:
        """Copy what was written since; also called once the results and the report are there."""
        if _is_same(self.run, self.folder):
            return
        self._copy()
        if self.problem is not None:
            _say(
                f"the copy in {self.folder} is not up to date ({self.problem})."
                f" Copy {self.run} by hand."
            )


def copy_run(run: str | Path, folder: str | Path) -> int | None:
    """Copy what is new of a run to another folder, in an order that leaves a run there at any time.

    Metrics come before the checkpoints they belong to, and every file and checkpoint appears
    whole. Checkpoints that the run no longer keeps are removed from the copy.

    Args:
        run: Folder of the run; it may be training.
        folder: Folder of the copy, new or a copy of the same run.

    Returns:
        The step of the newest checkpoint in the copy; None if there is none.

    Raises:
        RunError: The folder holds something else, or is ahead of the run.
        OSError: It cannot be written.
    """
    run, folder = Path(run), Path(folder)
    check_copy(run, folder)
    folder.mkdir(exist_ok=True)  # never its parents: they would hide that a drive is not mounted
    ours, copied = run / "checkpoints", folder / "checkpoints"
    names = [f"step-{entry.step:09d}" for entry in Checkpoints(ours).entries()]
    with contextlib.ExitStack() as stack:
        # Open files stay readable when the training deletes them meanwhile.
        opened = {name: _open_all(stack, ours / name) for name in reversed(names)}
        for name in _FIRST:
            _copy_file(run / name, folder / name)
        for name, files in opened.items():
            if files and not _is_there(ours / name, copied / name):
                _copy_checkpoint(files, copied, name)
    for file in sorted(run.iterdir()):
        if file.is_file() and not file.name.startswith(".") and file.name not in _FIRST:
            _copy_file(file, folder / file.name)
    kept = {f"step-{entry.step:09d}" for entry in Checkpoints(ours).entries()} | set(names)
    for path in copied.glob("step-*"):
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
    return Checkpoints(copied).newest()


def bring_back(copy: str | Path, run: str | Path) -> bool:
    """Bring a run back from its copy, if the copy is there and ahead of it.

    Args:
        copy: Folder of the copy.
        run: Folder of the run, which may be gone.

    Returns:
        Whether anything was copied.

    Raises:
        RunError: They are different runs.
        OSError: The folder cannot be written.
    """
    copy, run = Path(copy), Path(run)
    if not is_run(copy) or _is_same(copy, run):
        return False
    if is_run(run):
        _check_identity(run, copy)
        if (_newest(copy) or 0) <= (_newest(run) or 0):
            return False
    run.parent.mkdir(parents=True, exist_ok=True)
    copy_run(copy, run)
    return True


def check_copy(run: str | Path, folder: str | Path) -> None:
    """Refuse a folder that holds something else than an older copy of a run.

    Args:
        run: Folder of the run.
        folder: Where the copy shall go.

    Raises:
        RunError: The folder holds something else, or is ahead of the run.
    """
    run, folder = Path(run), Path(folder)
    if is_run(folder):
        _check_identity(run, folder)
        theirs, ours = _newest(folder) or 0, _newest(run) or 0
        if theirs > ours:
            raise RunError(
                f"{folder}: must not be ahead of the run it is a copy of; got step {theirs}, and"
                f" {run} is at {ours}. Go on with 'fitwell resume {folder}'."
            )
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(
            f"{folder}: must be new, empty, or a copy of {run}; it holds something else."
            " Name another folder for the copy."
        )


def _check_identity(run: Path, copy: Path) -> None:
    if _identity(run) != _identity(copy):
        raise RunError(
            f"{copy}: must be a copy of {run}; it is another run. Name another folder for the copy."
        )


def _identity(folder: Path) -> tuple[Any, ...]:
    """Give what stays the same of a run however often it is resumed."""
    try:
        manifest = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return manifest["created"], manifest["data"]["fingerprint"], manifest["schema"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise RunError(f"{folder / 'run.json'}: cannot be read ({err}).") from err


def _newest(folder: Path) -> int | None:
    return Checkpoints(folder / "checkpoints").newest()


def _is_same(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _is_there(ours: Path, copied: Path) -> bool:
    try:
        return (ours / "info.json").read_bytes() == (copied / "info.json").read_bytes()
    except OSError:
        return False


def _open_all(stack: contextlib.ExitStack, checkpoint: Path) -> dict[str, IO[bytes]]:
    """Open the files of a checkpoint; nothing if the training is deleting it."""
    try:
        info = json.loads((checkpoint / "info.json").read_bytes())
        paths = sorted(path for path in checkpoint.iterdir() if path.is_file())
        files: dict[str, IO[bytes]] = {}
        for path in paths:
            files[path.name] = stack.enter_context(path.open("rb"))
    except FileNotFoundError:
        return {}
    size = sum(os.fstat(f.fileno()).st_size for name, f in files.items() if name != "info.json")
    return files if size == info["size"] else {}


def _copy_checkpoint(files: dict[str, IO[bytes]], folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    for leftover in folder.glob(f"{_WRITING}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder / f"{_WRITING}{name}"
    temporary.mkdir()
    try:
        for file, source in files.items():
            _write(source, temporary / file)
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        os.rename(temporary, folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file whole or not at all, unless size and time say that it is there already."""
    try:
        with source.open("rb") as opened:
            state = os.fstat(opened.fileno())
            with contextlib.suppress(FileNotFoundError):
                there = target.stat()
                if (there.st_size, there.st_mtime_ns) == (state.st_size, state.st_mtime_ns):
                    return
            temporary = target.with_name(f"{_COPYING}{target.name}")
            try:
                _write(opened, temporary)
                os.utime(temporary, ns=(state.st_atime_ns, state.st_mtime_ns))
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
    except FileNotFoundError:
        if source.exists():  # then it is the copy's folder that has gone
            raise


def _write(source: IO[bytes], target: Path) -> None:
    source.seek(0)
    with target.open("wb") as out:
        shutil.copyfileobj(source, out, _BLOCK)
        out.flush()
        os.fsync(out.fileno())
    state = os.fstat(source.fileno())
    os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))


def _say(message: str) -> None:
    print(f"fitwell: {message}", file=sys.stderr, flush=True)
