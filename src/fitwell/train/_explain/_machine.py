"""What the machine lacks: memory, files, worker processes."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from ...core.machine import read_memory
from ._explanation import Explanation, Rule
from ._scene import Scene

_LARGE = (
    "Halve batch_size and double accumulate, which keeps the update (--accumulate 2); then compute"
    " activations again instead of keeping them (--recompute), then bf16"
    " (--precision bf16), and last of all smaller batches down to 1. If it comes only after many"
    " steps, keep loss.item() and not the loss."
)


def memory(scene: Scene) -> Explanation | None:
    """Explain that memory ran out, whoever says so.

    Args:
        scene: Where it happened.
    """
    text = scene.text
    gpu = "CUDA" in text or "GPU" in text or "HIP" in text
    asked, total = _asked(text), 0 if gpu else read_memory().total or 0
    if total and asked > total:
        cause = f"a single tensor of {_readable(asked)}, on a machine with {_readable(total)}"
        fix = "A shape is wrong, or a product of two large sizes: look at the line named here."
        return scene.tell("memory", cause, fix)
    cause = f"{'the GPU' if gpu else 'the machine'} is out of memory"
    if asked:
        cause += f"; {_readable(asked)} more were asked for"
    free = re.search(r"total capacity of ([\d.]+ \w+) of which ([\d.]+ \w+) is free", text)
    if free:
        cause += f", and {free[2]} of {free[1]} are free"
    return scene.tell("memory", cause, _LARGE)


def _asked(text: str) -> int:
    """Read how many bytes were asked for; 0 if the message does not say."""
    found = re.search(r"allocate ([\d.]+) ?([KMGT]i)?[Bb]", text)
    if found is None:
        return 0
    return int(float(found[1]) * 1024 ** ["", "Ki", "Mi", "Gi", "Ti"].index(found[2] or ""))


def _readable(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def missing_file(scene: Scene) -> Explanation | None:
    """Explain that a file is not there, by what is near it.

    Args:
        scene: Where it happened.
    """
    found = re.search(r"No such file or directory: '?([^'\n]+)'?", scene.text)
    name = getattr(scene.error, "filename", None) or (found[1] if found else None)
    if not isinstance(name, str | os.PathLike):
        return None
    path = Path(name)
    folder = path.parent
    here = "" if path.is_absolute() else f" (looked for in {Path.cwd()})"
    if not folder.is_dir():
        cause = f"there is no folder {str(folder)!r}{here}, so no file {path.name!r} in it"
        fix = "Correct the folder, or start from the folder that the path counts from."
        return scene.tell("missing-file", cause, fix)
    names = sorted(entry.name for entry in os.scandir(folder))
    by_case = {entry.lower(): entry for entry in names}
    near = difflib.get_close_matches(path.name.lower(), by_case, n=3, cutoff=0.6)
    cause = f"there is no file {str(path)!r}{here}"
    fix = "Correct the path, or start from the folder that it counts from."
    if near:
        fix = f"Nearest in that folder: {', '.join(repr(by_case[n]) for n in near)}."
    return scene.tell("missing-file", cause, fix)


def _died(match: re.Match[str], scene: Scene) -> Explanation | None:
    causes = [str(e) for e in (scene.error, scene.error.__cause__, scene.error.__context__)]
    text = " ".join(causes)
    if "Bus error" in text or "shared memory" in text or "shm" in text:
        shared = read_memory().shared
        size = f", {_readable(shared)}," if shared else ""
        cause = f"a worker of the DataLoader died, mostly as shared memory{size} was full"
        fix = "Give the container more, docker run --shm-size=8g, or use num_workers=0."
    elif "Killed" in text:
        cause = "a worker of the DataLoader was killed, which the system does when memory runs out"
        fix = "Use fewer num_workers, and do not keep the whole data set in each."
    else:
        cause = "a worker of the DataLoader ended without a word"
        fix = "Use num_workers=0 once, where the error of the data set shows itself."
    return scene.tell("worker", cause, fix)


def _open_files(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.tell(
        "worker",
        "the workers of the DataLoader keep more files open than the system allows",
        'Call torch.multiprocessing.set_sharing_strategy("file_system"), or raise `ulimit -n`.',
    )


def _timeout(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "the workers of the DataLoader gave no batch in time"
    fix = "Use num_workers=0 once to see what takes long, or raise `timeout`."
    return scene.tell("worker", cause, fix)


def _not_picklable(match: re.Match[str], scene: Scene) -> Explanation | None:
    if not any("multiprocessing" in step.file.parts for step in scene.steps):
        return None
    what = match[1].strip("'<>")
    return scene.tell(
        "worker",
        f"the data set holds something that cannot be sent to a worker process ({what})",
        "Use a function at the top of a module instead of a lambda or an inner function, open files"
        " in __getitem__, or use num_workers=0.",
    )


def _not_main(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "worker processes run this script again from the top"
    return scene.tell("worker", cause, 'Put the code under if __name__ == "__main__":.')


RULES: tuple[Rule, ...] = (
    (r"DataLoader worker \(pid.*(?:exited unexpectedly|is killed by signal)", _died),
    (r"received \d+ items of ancdata|Too many open files", _open_files),
    (r"DataLoader timed out after", _timeout),
    (r"(?:Can't|Cannot|cannot) (?:pickle|get) (?:local object )?(.+)", _not_picklable),
    (r"before the\s+current process has finished its bootstrapping phase", _not_main),
)
