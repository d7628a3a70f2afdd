"""A process that decodes images and does nothing else: it loads Pillow and NumPy, never torch.

Threads are held up by each other where files are small, because most of the work for a small file
is Python's. A process of this kind starts in a fraction of the time that a copy of the whole
program would need, runs nobody's main module again, and ends when its input does.

Run as a script, it answers each line of JSON (paths, form, Pillow's limits) with one line of JSON
(digests, headers, problems, number of good images) and the pixels of the good images.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, final

if TYPE_CHECKING:
    from ._pixels import Form


@final
class Worker:
    """The other end of such a process.

    Raises:
        OSError: The process cannot be started.
    """

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the program, which then ends this one
        )

    def ask(self, paths: Sequence[str], form: Form) -> tuple[dict[str, Any], bytes]:
        """Let the process decode some files.

        Args:
            paths: The files.
            form: What to bring them to.

        Returns:
            What was found, and the pixels of the good images.

        Raises:
            OSError: The process has ended.
        """
        from PIL import Image, ImageFile

        wanted, answers = self._process.stdin, self._process.stdout
        if wanted is None or answers is None:
            raise BrokenPipeError("the process has no pipes")
        limits = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
        order = json.dumps([paths, form.image_size, form.channels, *limits])
        wanted.write(order.encode() + b"\n")
        wanted.flush()
        line = answers.readline()
        if not line.endswith(b"\n"):
            raise BrokenPipeError("the process has ended")
        found: dict[str, Any] = json.loads(line)
        pixels = answers.read(found["bytes"])
        if len(pixels) < found["bytes"]:
            raise BrokenPipeError("the process has ended")
        return found, pixels

    def close(self) -> None:
        """End the process and wait for it."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait()


def _serve(wanted: IO[bytes], answers: IO[bytes]) -> None:
    import hashlib
    import importlib
    import os
    import warnings

    from PIL import Image, ImageFile

    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    decoder = importlib.import_module("_decode")  # alone: the package would bring torch
    decoder.load_pillow()
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    for line in wanted:
        paths, image_size, channels, limit, forgiving = json.loads(line)
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, forgiving
        digests, headers, problems, planes = [], [], {}, []
        for i, path in enumerate(paths):
            digest, header = "", None
            try:
                data = decoder.read_bytes(path)
                digest = hashlib.sha256(data).hexdigest()
                pixels, header = decoder.decode(data, tuple(image_size), channels)
                planes.append(pixels.tobytes())
            except decoder.BadImage as err:
                problems[i] = (err.problem, err.remedy)
                header = decoder.read_header(path)
            digests.append(digest)
            headers.append(header)
        body = b"".join(planes)
        head = {"digests": digests, "headers": headers, "problems": problems, "bytes": len(body)}
        answers.write(json.dumps(head).encode() + b"\n")
        answers.write(body)
        answers.flush()


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
