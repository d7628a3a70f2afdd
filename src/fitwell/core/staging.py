"""Data from slow storage onto a local disk: copied in big blocks, unpacked safely, measured.

A mounted cloud drive or a cluster's shared file system answers each small file with a wait; one
archive is read in one go. What arrived is noted, so that a second call finds it and reads nothing.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from .archives import DAMAGED, content_size, is_archive, unpack
from .errors import DataError
from .files import sha256, write_json

BLOCK = 2**23
READERS = 8  # files asked for at a time; cloud drives answer each after a wait
_FULL = (errno.ENOSPC, errno.EDQUOT)

Progress = Callable[[str, int, int], None]


@final
@dataclass(frozen=True, kw_only=True)
class Staged:
    """What was brought where, and how fast.

    Args:
        source: Where it came from.
        folder: Where it is now.
        files: Files there.
        bytes: Their sizes together.
        sha256: Of the archive; empty for a folder.
        files_read: Files that were read from the source now; 0 if all was there already.
        bytes_read: Bytes that were read from the source now.
        read_seconds: Time the source took.
        bytes_written: Bytes that were written now.
        write_seconds: Time the local disk took.
        skipped: Links and special files that were left out.
    """

    source: Path
    folder: Path
    files: int = 0
    bytes: int = 0
    sha256: str = ""
    files_read: int = 0
    bytes_read: int = 0
    read_seconds: float = 0.0
    bytes_written: int = 0
    write_seconds: float = 0.0
    skipped: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Give all as plain data, with speeds in bytes per second, None where nothing was done."""
        read, write = self.read_seconds, self.write_seconds
        return {
            **asdict(self),
            "source": str(self.source),
            "folder": str(self.folder),
            "read_speed": self.bytes_read / read if read else None,
            "write_speed": self.bytes_written / write if write else None,
        }

    def __str__(self) -> str:
        lines = [f"{self.folder} has {self.files:,} files, {self.bytes / 1e6:,.1f} MB"]
        if not self.files_read:
            return f"{lines[0]}; nothing has changed in {self.source}, and nothing was read."
        read, write = max(self.read_seconds, 1e-9), max(self.write_seconds, 1e-9)
        lines.append(
            f"read     {self.bytes_read / 1e6 / read:,.1f} MB/s, {self.files_read / read:,.1f}"
            f" files/s from {self.source}"
        )
        lines.append(f"written  {self.bytes_written / 1e6 / write:,.1f} MB/s")
        if self.sha256:
            lines.append(f"sha256   {self.sha256}")
        elif self.files_read >= 1000 and self.bytes_read < 2**20 * self.files_read:
            lines.append(
                "Many small files: put one archive of them there instead, and stage that:"
                f" tar -cf data.tar -C {self.source} ."
            )
        if self.skipped:
            lines.append(f"Left out: {self.skipped:,} links and special files.")
        return "\n".join(lines)


def stage(
    source: Path, folder: Path, *, digest: str = "", progress: Progress | None = None
) -> Staged:
    """Bring a folder or the content of an archive to a local folder, unless it is there.

    Args:
        source: A folder, a zip or tar archive, or any other single file.
        folder: Where it goes. What an earlier call that was cut off left there is gone on with.
        digest: SHA-256 that a file must have; empty if not known.
        progress: Called with a name, the bytes that are here and the bytes of the whole.

    Raises:
        DataError: There is no such source, not enough room, or the archive is damaged or hostile.
    """
    if not source.exists():
        raise DataError(f"data stage: {source} is not there. Is the drive mounted?")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _explained(source, folder):
        if source.is_dir():
            return _stage_folder(source, folder, progress)
        return _stage_file(source, folder, digest.lower(), progress)


@contextlib.contextmanager
def _explained(source: Path, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as err:
        if err.errno in _FULL:
            raise DataError(
                f"data stage: {folder} is full. Free some room or name another disk with --to;"
                " what has come is kept."
            ) from err
        if err.errno == errno.EIO:
            raise DataError(
                f"data stage: {source} cannot be read any further (input/output error). Google"
                " Drive answers so when its daily quota is used up; run the same command later."
            ) from err
        if err.errno is not None:
            raise DataError(f"data stage: {err}. Check both places and run it again.") from err
        raise _damaged(source, err) from err  # what bz2 and gzip raise
    except DAMAGED as err:
        raise _damaged(source, err) from err


def _damaged(source: Path, err: Exception) -> DataError:
    return DataError(f"data stage: {source} is not a whole archive ({err}). Copy it there again.")


def check_room(needed: int, folder: Path) -> None:
    """Refuse to begin what will not fit.

    Args:
        needed: Bytes about to be written.
        folder: Where, or where it will be.

    Raises:
        DataError: The disk has less.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise DataError(
            f"data stage: {folder} must have {needed / 1e6:,.1f} MB free; got {free / 1e6:,.1f} MB."
            " Free some room or name another disk with --to. Nothing was copied."
        )


def _stage_file(source: Path, folder: Path, wanted: str, progress: Progress | None) -> Staged:
    state = source.stat()
    stamp = {"source": str(source), "size": state.st_size, "changed": state.st_mtime_ns}
    notes = folder.with_name(f".{folder.name}.staged.json")
    there = _staged_before(source, folder, _read_json(notes), stamp)
    if there is not None:
        _check_digest(source, there.sha256, wanted)
        return there
    copy = folder.with_name(f".{folder.name}.part")
    notes_of_copy = folder.with_name(f".{folder.name}.part.json")
    if _read_json(notes_of_copy) != stamp:
        copy.unlink(missing_ok=True)
        write_json(notes_of_copy, stamp)
    have = copy.stat().st_size if copy.exists() else 0
    content = content_size(source) if is_archive(source) else 0
    check_room(state.st_size - have + (state.st_size if content is None else content), folder)
    read, write, count = _copy(source, copy, have, progress)
    digest = sha256(copy)
    begun = time.perf_counter()
    try:
        _check_digest(source, digest, wanted)
        files, size, skipped = _put(copy, source.name, folder)
    except (DataError, OSError, *DAMAGED) as err:
        if getattr(err, "errno", None) is None:  # not the disk is at fault, but what was copied
            copy.unlink(missing_ok=True)
        raise
    write_json(notes, {**stamp, "files": files, "bytes": size, "sha256": digest})
    copy.unlink(missing_ok=True)
    notes_of_copy.unlink(missing_ok=True)
    return Staged(
        source=source,
        folder=folder,
        files=files,
        bytes=size,
        sha256=digest,
        files_read=1,
        bytes_read=count,
        read_seconds=read,
        bytes_written=count + (size if is_archive(source) else 0),
        write_seconds=write + time.perf_counter() - begun,
        skipped=skipped,
    )


def _staged_before(
    source: Path, folder: Path, note: dict[str, Any], stamp: dict[str, Any]
) -> Staged | None:
    """Give what an earlier call left, if all of it is there and the source has not changed.

    Files that somebody has put beside it stay, so it is not made anew where they would go.
    """
    if not folder.exists():
        return None
    if not note and any(folder.iterdir()):
        raise DataError(
            f"data stage: {folder} must be new, empty or staged before; it holds something else."
            " Name another folder with --to."
        )
    count = sum(len(files) for _, _, files in os.walk(folder))
    staged = note.get("files", count)
    if count >= staged and all(note.get(key) == item for key, item in stamp.items()):
        return Staged(
            source=source, folder=folder, files=staged, bytes=note["bytes"], sha256=note["sha256"]
        )
    if count > staged:
        raise DataError(
            f"data stage: {folder} must hold what was staged alone to be renewed; got"
            f" {count - staged:,} files more. Move them away, or name another folder with --to."
        )
    return None


def _check_digest(source: Path, found: str, wanted: str) -> None:
    if wanted and found != wanted:
        raise DataError(
            f"data stage: {source} must have the SHA-256 {wanted}; got {found}. Get it again."
        )


def _put(copy: Path, name: str, folder: Path) -> tuple[int, int, int]:
    """Unpack or move what was copied into the folder, which appears whole or not at all."""
    fresh = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        if is_archive(Path(name)):
            done = unpack(copy, fresh)
        else:
            os.rename(copy, fresh / name)
            done = 1, (fresh / name).stat().st_size, 0
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return done


def _copy(
    source: Path, target: Path, have: int, progress: Progress | None, *, durable: bool = True
) -> tuple[float, float, int]:
    """Append what is missing of a copy; give the seconds of reading, of writing, and the bytes."""
    read = write = 0.0
    count, whole = have, source.stat().st_size
    with source.open("rb") as reader, target.open("ab") as writer:
        reader.seek(have)
        while True:
            begun = time.perf_counter()
            block = reader.read(BLOCK)
            read += time.perf_counter() - begun
            if not block:
                break
            begun = time.perf_counter()
            writer.write(block)
            write += time.perf_counter() - begun
            count += len(block)
            if progress is not None:
                progress(source.name, count, whole)
        begun = time.perf_counter()
        writer.flush()
        if durable:
            os.fsync(writer.fileno())
        write += time.perf_counter() - begun
    if count != whole:
        raise DataError(f"data stage: {source} changed while it was copied. Run it again.")
    return read, write, count - have


def _stage_folder(source: Path, folder: Path, progress: Progress | None) -> Staged:
    if folder.resolve().is_relative_to(source.resolve()):
        raise DataError(f"data stage: {folder} must lie outside {source}. Name another with --to.")
    wanted, skipped = _listing(source)
    total = sum(state.st_size for state in wanted.values())
    missing = {name: s for name, s in wanted.items() if not _is_copied(folder / name, s)}
    check_room(sum(state.st_size for state in missing.values()), folder)
    for parent in sorted({(folder / name).parent for name in missing}, key=str):
        parent.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    reads, writes, done = 0.0, 0.0, 0
    with ThreadPoolExecutor(READERS) as pool:
        jobs = [pool.submit(_copy_one, source / n, folder / n, s) for n, s in missing.items()]
        try:
            for name, job in zip(missing, jobs, strict=True):
                read, write = job.result()
                reads, writes, done = reads + read, writes + write, done + missing[name].st_size
                if progress is not None and missing:
                    progress(source.name, done, sum(s.st_size for s in missing.values()))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    elapsed = time.perf_counter() - begun
    share = reads / max(reads + writes, 1e-9)  # of the time that passed, not of all threads' time
    return Staged(
        source=source,
        folder=folder,
        files=len(wanted),
        bytes=total,
        files_read=len(missing),
        bytes_read=done,
        read_seconds=elapsed * share,
        bytes_written=done,
        write_seconds=elapsed * (1 - share),
        skipped=skipped,
    )


def _listing(source: Path) -> tuple[dict[str, os.stat_result], int]:
    """Give the regular files below a folder by their relative names, and what is something else."""
    found: dict[str, os.stat_result] = {}
    skipped = 0
    for parent, folders, files in os.walk(source):
        skipped += sum(os.path.islink(os.path.join(parent, name)) for name in folders)
        for name in files:
            path = Path(parent, name)
            try:
                state = path.stat()
            except OSError:
                skipped += 1
                continue
            if stat.S_ISREG(state.st_mode):
                found[str(path.relative_to(source))] = state
            else:
                skipped += 1
    return found, skipped


def _is_copied(target: Path, state: os.stat_result) -> bool:
    try:
        there = target.stat()
    except OSError:
        return False
    return (there.st_size, there.st_mtime_ns) == (state.st_size, state.st_mtime_ns)


def _copy_one(source: Path, target: Path, state: os.stat_result) -> tuple[float, float]:
    temporary = target.with_name(f".{target.name}.staging")
    try:
        temporary.unlink(missing_ok=True)
        read, write, _ = _copy(source, temporary, 0, None, durable=False)
        os.utime(temporary, ns=(state.st_atime_ns, state.st_mtime_ns))
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return read, write


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
