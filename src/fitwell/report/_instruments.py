"""What the doctor's instruments have kept beside a run: the watch, and answers of probes."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ._examples import Picture
from ._numbers import count, duration, percent, short
from ._records import Records, mapping, number, read_object, sequence

_WORDS: Final = {
    True: ("look here", "failed"),
    False: ("nothing found", "finished"),
    None: ("no verdict", ""),
}
"""What a probe found, as words, and the status whose colour they have."""

_BYTES: Final = 3_000_000
"""Pictures of probes together, as base64; the rest stay in the run's folder."""


def watch_section(records: Records) -> dict[str, Any] | None:
    """Give what a watch saw while the run was trained; None if there was none.

    Args:
        records: Records of the run.
    """
    record = read_object(records.folder / "watch.json", [])
    summary = mapping(record.get("summary"))
    if not summary:
        return None
    return {
        "stuck": str(mapping(record.get("stuck")).get("conclusion") or ""),
        "rows": list(_watched(summary)),
        "notes": [str(note) for note in sequence(summary.get("notes"))],
        "picture": _picture(records.folder / "watch.png"),
    }


def _watched(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    steps, looks = number(summary.get("steps")), number(summary.get("looks"))
    if steps is not None and looks is not None:
        yield "looked at", f"{count(int(looks))} of {count(int(steps))} steps"
    for name, words in (
        ("gradient_norm", "gradient norm, in the middle"),
        ("largest_gradient_norm", "gradient norm, largest"),
        ("update_ratio", "update over weight"),
        ("gradient_cosine", "cosine of successive gradients"),
    ):
        value = number(summary.get(name))
        if value is not None:
            yield words, short(value)
    noise = number(mapping(summary.get("noise_scale")).get("examples"))
    if noise is not None:
        yield "gradient noise scale", f"{short(noise)} examples"
    shares = {"data_share": "waiting for data", "clipped": "clipped", "cost": "cost"}
    for name, words in shares.items():
        share = number(summary.get(name))
        if share is not None:
            yield words, percent(share)
    for name, words in _NAMED:
        names = [str(one) for one in sequence(summary.get(name))]
        if names:
            yield words, _some(names)
    dead = {name: number(share) or 0.0 for name, share in mapping(summary.get("dead")).items()}
    if dead:
        worst = max(dead, key=lambda name: dead[name])
        yield "dead units, at most", f"{percent(dead[worst])} in {worst}"
    if summary.get("nonfinite"):
        yield "first NaN or infinity", str(summary["nonfinite"])


_NAMED: Final = (
    ("no_gradient", "no gradient"),
    ("zero_gradient", "gradient 0"),
    ("unmoved", "not moved"),
    ("not_in_optimizer", "not in the optimizer"),
    ("frozen", "frozen"),
)


def _some(names: Sequence[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def probe_section(folder: Path) -> list[dict[str, Any]]:
    """Give the answers of probes that are kept beside a run or a sweep, the newest last.

    Args:
        folder: Of the run or the sweep.
    """
    kept = sorted(
        (path for path in (folder / "probes").glob("*.json") if path.is_file()),
        key=lambda path: (path.stat().st_mtime, path.name),
    )
    answers, left = [], _BYTES
    for path in kept:
        answer = read_object(path, [])
        if not isinstance(answer.get("conclusion"), str):
            continue
        picture = _picture(path.with_suffix(".png"))
        left -= len(picture.text)
        answers.append(_shown(answer, path.stem, picture if left >= 0 else Picture()))
    return answers


def _shown(answer: Mapping[str, Any], name: str, picture: Picture) -> dict[str, Any]:
    found = answer.get("found")
    seconds = number(answer.get("seconds"))
    words, color = _WORDS[found if isinstance(found, bool) else None]
    asks = str(answer.get("asks") or "")
    return {
        "name": name,
        "asks": asks[:1].upper() + asks[1:],
        "verdict": words,
        "color": color,
        "conclusion": answer["conclusion"],
        "notes": [_sentence(str(note)) for note in sequence(answer.get("notes"))],
        "seconds": "" if seconds is None else duration(seconds),
        "picture": picture,
    }


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


def _picture(path: Path) -> Picture:
    try:
        content = path.read_bytes()
    except OSError:
        return Picture()
    return Picture.read(base64.b64encode(content).decode())
