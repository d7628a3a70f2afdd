"""Decoded images on disk: each is decoded once, in parallel, into one file mapped to memory.

    <cache>/images/folders/<folder>.json   which content each file of a folder had when last read
    <cache>/images/decoded/<key>/          pixels.npy (N, C, H, W) uint8, and about.json

Together the entries take at most a quarter of the disk, see `_room`.

The key is made of the content of the files, in order, and of the form they are brought to. So a
file that was touched or a folder that was moved finds its entry again, a changed file does not. An
entry is written beside its place and renamed when it is complete.

N images, C channels, H W height width.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import shutil
import tempfile
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, final

import numpy as np

from ...core.errors import UsageError
from ...core.files import cache_dir, sync, write_json, write_text
from .._bad_rows import BadRows
from . import _decode as decoder
from ._decode import BadImage, Header
from ._listing import ImageFile
from ._pixels import HEAD_BYTES, Entry, Form, find_pixels, write_head
from ._room import make_room, mark_used
from ._worker import Worker

_T = TypeVar("_T")
_FORMAT = "fitwell decoded images 1"
_CHUNK = 32  # files per task: long against a hand-over, short against the whole
# Python's part of reading a file is what threads cannot share, so many small files are decoded by
# processes; their start has to pay for itself.
_MANY = 4000
_SMALL_BYTES = 2000  # times the number of workers
_README = """Images that fitwell decoded, kept so that they need not be decoded again.
The longest unused are removed when all together take more than a quarter of the disk.
Any of it may be deleted at any time while fitwell is not running.
"""


class Known(NamedTuple):
    """What an earlier reading found out about a file; no header for one that is no image."""

    stamp: tuple[int, int, int]
    digest: str
    header: Header | None


@final
@dataclass
class _Result:
    pixels: decoder.Array
    good: int = 0
    digests: list[str] = field(default_factory=list)
    headers: list[Header | None] = field(default_factory=list)
    problems: dict[int, tuple[str, str]] = field(default_factory=dict)


Decoder = Callable[[Sequence[ImageFile], Form], _Result]


@final
class ImageCache:
    """Decoded images of one folder, decoded only if no entry holds their content.

    Args:
        root: The folder of the images, for remembering its files.
        files: The images, in order.
        folder: Where the cache lies; None is the cache folder of fitwell.
        workers: Threads that read and decode; None is one per processor.
        progress: Told how many images are decoded, of how many.
        max_bytes: What the entries may take in all; None is a quarter of the disk. Those in use
            stay.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[ImageFile],
        *,
        folder: Path | None = None,
        workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        if workers is not None and workers < 1:
            raise UsageError(f"images: `workers` must be at least 1; got {workers}.")
        self._folder = (cache_dir() / "images" if folder is None else Path(folder)).expanduser()
        self._workers = workers or _processors()
        self._progress = progress or (lambda done, total: None)
        self._max_bytes = max_bytes
        self._root = root
        self._files = files
        name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:32]
        self._memory = self._folder / "folders" / f"{name}.json"
        remembered = _recall(self._memory)
        self._known = [_still(remembered.get(file.name), file) for file in files]
        self._peeked: dict[int, Header | None] = {}

    def headers(self, positions: Sequence[int]) -> list[Header | None]:
        """Give size and kind of some files, reading only the heads of those not known.

        Args:
            positions: Which files.
        """
        unknown = [i for i in positions if self._known[i] is None and i not in self._peeked]
        if unknown:
            paths = [self._files[i].path for i in unknown]
            found = _each(decoder.read_header, paths, self._workers)
            self._peeked.update(zip(unknown, found, strict=True))
        known = {i: k.header for i in positions if (k := self._known[i]) is not None}
        return [known[i] if i in known else self._peeked[i] for i in positions]

    def load(self, form: Form, bad: BadRows) -> Entry:
        """Give the pixels of all files that are good, from the cache if it has them.

        Args:
            form: What to bring the images to.
            bad: Where files are reported that cannot be decoded.

        Raises:
            DataError: A file is bad and the mode is ``stop``.
            UsageError: The cache cannot be written.
        """
        # Reading all files only to learn their content is worth it only if an entry for files of
        # just these sizes exists; else they are read once, for content and pixels together.
        shape_key = _shape_key(self._files, form)
        if any(self._decoded.glob(f"{shape_key}-*")):
            self._learn_content()
        if all(known is not None for known in self._known):
            entry = self._find(self._key(shape_key))
            if entry is not None:
                self._remember()
                for position, (problem, remedy) in entry.problems.items():
                    bad.report(self._files[position].path, None, problem, remedy)
                return entry
        try:
            return self._decode(shape_key, form, bad)
        except OSError as err:
            raise UsageError(
                f"images: `cache` must be a folder that can be written to; got {self._folder}"
                f" ({err.strerror or err}). Free some space or choose another: --cache DIR or"
                " FITWELL_CACHE."
            ) from err

    @property
    def _decoded(self) -> Path:
        return self._folder / "decoded"

    def _key(self, shape_key: str) -> str:
        digests = "".join(known.digest for known in self._known if known is not None)
        return f"{shape_key}-{hashlib.sha256(digests.encode()).hexdigest()[:32]}"

    def _learn_content(self) -> None:
        unknown = [i for i, known in enumerate(self._known) if known is None]
        heads = self.headers(unknown)
        digests = _each(_digest, [self._files[i].path for i in unknown], self._workers)
        for i, digest, head in zip(unknown, digests, heads, strict=True):
            self._known[i] = Known(self._files[i].stamp, digest, head)

    def _find(self, key: str) -> Entry | None:
        folder = self._decoded / key
        if not folder.is_dir():
            return None
        mark_used(self._folder, key)  # first, so that it is not removed while it is looked at
        try:
            about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
            shape = tuple(about["shape"])
            expected = HEAD_BYTES + int(np.prod(shape))
            if about["format"] != _FORMAT or (folder / "pixels.npy").stat().st_size != expected:
                raise ValueError("incomplete")
        except (OSError, ValueError, KeyError, TypeError):
            shutil.rmtree(folder, ignore_errors=True)
            return None
        problems = {int(i): (p, r) for i, (p, r) in about["problems"].items()}
        return Entry(find_pixels(folder / "pixels.npy", shape), problems)

    def _decode(self, shape_key: str, form: Form, bad: BadRows) -> Entry:
        self._decoded.mkdir(parents=True, exist_ok=True)
        if not (self._folder / "README.txt").exists():
            write_text(self._folder / "README.txt", _README)
        make_room(self._folder, self._max_bytes)
        self._progress(0, len(self._files))
        problems: dict[int, tuple[str, str]] = {}
        count = 0
        with tempfile.TemporaryDirectory(prefix="tmp-", dir=self._decoded) as place:
            draft = Path(place) / "entry"
            draft.mkdir()
            with (draft / "pixels.npy").open("wb") as out, contextlib.ExitStack() as stack:
                out.write(bytes(HEAD_BYTES))
                results = stack.enter_context(contextlib.closing(self._results(form)))
                for start, result in results:
                    for i, found in result.problems.items():
                        problems[start + i] = found
                        bad.report(self._files[start + i].path, None, *found)
                    for i, (digest, header) in enumerate(
                        zip(result.digests, result.headers, strict=True), start=start
                    ):
                        self._known[i] = Known(self._files[i].stamp, digest, header)
                    out.write(result.pixels[: result.good].data)
                    count += result.good
                    self._progress(start + len(result.digests), len(self._files))
                out.seek(0)
                write_head(out, (count, *form.shape))
            self._describe(draft / "about.json", form, count, problems)
            sync(draft / "pixels.npy")
            target = self._decoded / self._key(shape_key)
            # Another process may have been faster, which is as good.
            with contextlib.suppress(OSError):
                draft.rename(target)
        self._remember()
        entry = self._find(target.name)
        if entry is None:
            raise OSError(f"the entry {target} could not be put in place")
        make_room(self._folder, self._max_bytes)
        return entry

    def _results(self, form: Form) -> Generator[tuple[int, _Result]]:
        starts = range(0, len(self._files), _CHUNK)
        decode: Decoder = _decode_chunk
        with _pool(self._workers) as pool, contextlib.ExitStack() as stack:
            if self._workers > 1 and _many_small(self._files, self._workers):
                decode = stack.enter_context(_in_processes(self._workers))
            chunks = [self._files[start : start + _CHUNK] for start in starts]
            try:
                yield from zip(starts, pool.map(decode, chunks, repeat(form)), strict=True)
            finally:
                pool.shutdown(cancel_futures=True)

    def _describe(
        self, path: Path, form: Form, count: int, problems: Mapping[int, tuple[str, str]]
    ) -> None:
        from PIL import __version__ as pillow

        write_json(
            path,
            {
                "format": _FORMAT,
                "shape": [count, *form.shape],
                "channels": form.channels,
                "folder": str(self._root),
                "files": len(self._files),
                "problems": {str(i): list(found) for i, found in problems.items()},
                "pillow": pillow,
            },
        )

    def _remember(self) -> None:
        values = {
            file.name: [*known.stamp, known.digest, *(known.header or ())]
            for file, known in zip(self._files, self._known, strict=True)
            if known is not None
        }
        # What is remembered only saves time: a folder that cannot be written is no reason to stop.
        with contextlib.suppress(OSError):
            write_json(self._memory, {"folder": str(self._root), "files": values})


def _decode_chunk(files: Sequence[ImageFile], form: Form) -> _Result:
    result = _Result(np.empty((len(files), *form.shape), np.uint8))
    for i, file in enumerate(files):
        digest, header = "", None
        try:
            data = decoder.read_bytes(file.path)
            digest = hashlib.sha256(data).hexdigest()
            planes, header = decoder.decode(data, form.image_size, form.channels)
            result.pixels[result.good] = planes
            result.good += 1
        except BadImage as err:
            header = decoder.read_header(file.path)
            result.problems[i] = (err.problem, err.remedy)
        result.digests.append(digest)
        result.headers.append(header)
    return result


def _many_small(files: Sequence[ImageFile], workers: int) -> bool:
    """Tell whether processes gain more than their start costs."""
    total = sum(file.stamp[0] for file in files)
    return len(files) >= _MANY and total < _SMALL_BYTES * workers * len(files)


@contextlib.contextmanager
def _in_processes(workers: int) -> Iterator[Decoder]:
    """Give a stand-in for `_decode_chunk` that lets processes do the work, as far as they can."""
    idle: queue.SimpleQueue[Worker | None] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        for _ in range(workers):
            worker = None
            with contextlib.suppress(OSError):
                worker = stack.enter_context(contextlib.closing(Worker()))
            idle.put(worker)

        def decode(files: Sequence[ImageFile], form: Form) -> _Result:
            worker = idle.get()
            try:
                if worker is not None:
                    return _from_answer(*worker.ask([file.path for file in files], form), form)
            except (OSError, ValueError):  # it has ended; its part is done here from now on
                worker = None
            finally:
                idle.put(worker)
            return _decode_chunk(files, form)

        yield decode


def _from_answer(found: Mapping[str, Any], body: bytes, form: Form) -> _Result:
    pixels = np.frombuffer(body, np.uint8).reshape(-1, *form.shape)
    headers = [Header(*header) if header else None for header in found["headers"]]
    problems = {int(i): (p, r) for i, (p, r) in found["problems"].items()}
    return _Result(pixels, len(pixels), found["digests"], headers, problems)


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(decoder.read_bytes(path)).hexdigest()
    except BadImage:
        return ""


# Filters of warnings belong to the process: two decodings at once would restore each other's.
_ONE_AT_A_TIME = threading.Lock()


def _each(function: Callable[[str], _T], paths: Sequence[str], workers: int) -> list[_T]:
    """Call a function on each path, on threads that are handed many paths at a time."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    with _pool(workers) as pool:
        parts = pool.map(lambda chunk: [function(path) for path in chunk], chunks)
        return [found for part in parts for found in part]


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads, as fast as processes but for small files: Pillow decodes without the GIL.

    Pillow's warnings are about what is handled here, except the one about images that are far too
    large, which becomes an error.
    """
    from PIL import Image

    decoder.load_pillow()
    with _ONE_AT_A_TIME, warnings.catch_warnings(), ThreadPoolExecutor(workers) as pool:
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield pool


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _shape_key(files: Sequence[ImageFile], form: Form) -> str:
    from PIL import Image, __version__

    made_by = f"{_FORMAT} {form.shape} {__version__} {Image.MAX_IMAGE_PIXELS} "
    text = made_by + " ".join(str(file.stamp[0]) for file in files)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _recall(path: Path) -> dict[str, Known]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {
            name: Known((size, mtime, ctime), digest, Header(*header) if header else None)
            for name, (size, mtime, ctime, digest, *header) in values.items()
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _still(known: Known | None, file: ImageFile) -> Known | None:
    return known if known is not None and known.digest and known.stamp == file.stamp else None
