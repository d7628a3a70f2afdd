"""Filters along the frequency axis (abdelhamid2014convolutional) on spoken digits of unseen voices.

A spectrogram is no photo: up and down is pitch and voice, left and right is time. So the filters of
the paper cover a few bands of frequency and all frames, and maxima are taken along frequency alone,
which is where one voice is a shifted form of another. Against square filters of 3 x 3 with square
pooling, filters along time that cover all bands, and a network without filters; all with as
many weights. Each seed holds out two of the six speakers of FSDD, so that each is tested once.

The few lines that turn sound into a spectrogram stand here because fitwell has no part for audio
yet.

    python recipes/frequency_filters.py                  # reads $FITWELL_DATA/fsdd
    python recipes/frequency_filters.py --quick          # does it work? Seconds, no record
"""

from __future__ import annotations

import argparse
import csv
import lzma
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from recording import RECORDS, accuracy_after, of_networks, threads
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.errors import DataError
from fitwell.core.files import local_data_dir
from fitwell.core.records import append_record
from fitwell.data import Examples, Schema

SAMPLE_RATE, N_FFT, HOP = 8_000, 256, 80  # 32 ms every 10 ms
BANDS, FRAMES = 40, 32
HELD_OUT = (("george", "jackson"), ("lucas", "nicolas"), ("theo", "yweweler"))
"""Test speakers of seeds 0, 1 and 2, by name."""
SETTINGS: dict[str, Any] = {"recordings": 3_000, "epochs": 20, "seeds": (0, 1, 2)}


@final
@dataclass(frozen=True, kw_only=True)
class Speech:
    """Spectrograms (N, 1, BANDS, FRAMES), the digits said, and who said them."""

    spectrograms: Tensor
    digits: Tensor
    speakers: tuple[str, ...]


def mel_matrix() -> Tensor:
    """Give triangles that are evenly spaced in mel, (BANDS, N_FFT // 2 + 1)."""
    highest = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, BANDS + 2) / 2595) - 1)
    bins = np.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    left, middle, right = (edges[i : i + BANDS, None] for i in range(3))
    rising, falling = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return torch.from_numpy(np.clip(np.minimum(rising, falling), 0, None)).float()


def log_mel(waveform: Tensor, matrix: Tensor) -> Tensor:
    """Give the log-mel spectrogram, (1, BANDS, FRAMES): mean 0, spread 1, stretched in time."""
    window = torch.hann_window(N_FFT)
    spectrum = torch.stft(
        waveform, N_FFT, HOP, window=window, return_complex=True, pad_mode="constant"
    )
    energy = (matrix @ spectrum.abs().square() + 1e-6).log()
    energy = (energy - energy.mean()) / energy.std()
    return F.interpolate(energy[None, None], (BANDS, FRAMES), mode="bilinear")[0]


def read(folder: Path, recordings: int) -> Speech:
    """Read recordings, evenly from all speakers and digits."""
    if not (folder / "audio.xz").exists():
        raise DataError(
            f"frequency_filters: {folder / 'audio.xz'} must be there; got none. Set FITWELL_DATA to"
            " the folder that has fsdd."
        )
    raw = np.frombuffer(lzma.decompress((folder / "audio.xz").read_bytes()), np.uint8)
    coded = raw[: len(raw) // 2].astype(np.uint16) | (raw[len(raw) // 2 :].astype(np.uint16) << 8)
    steps = (coded >> 1).astype(np.int16) ^ -(coded & 1).astype(np.int16)
    samples = torch.from_numpy(np.cumsum(steps, dtype=np.int16)).float() / 2**15
    with (folder / "index.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    rows.sort(key=lambda row: int(row["take"]))
    rows = rows[:recordings]
    matrix = mel_matrix()
    places = [(int(row["start"]), int(row["n_samples"])) for row in rows]
    return Speech(
        spectrograms=torch.stack([log_mel(samples[a : a + n], matrix) for a, n in places]),
        digits=torch.tensor([int(row["digit"]) for row in rows]),
        speakers=tuple(row["speaker"] for row in rows),
    )


def head(features: int, hidden: int = 64) -> list[nn.Module]:
    """Give the dense layers on top."""
    return [nn.Flatten(), nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, 10)]


def frequency() -> nn.Sequential:
    """Filters of 8 bands and all frames; the largest of 6 bands, every 2, as published."""
    pooled = (BANDS - 8 + 1 - 6) // 2 + 1
    return nn.Sequential(
        *[nn.Conv2d(1, 72, (8, FRAMES)), nn.ReLU(), nn.MaxPool2d((6, 1), (2, 1))],
        *head(72 * pooled),
    )


def along_time() -> nn.Sequential:
    """Filters of 8 frames and all bands; the largest of 6 frames, every 2."""
    pooled = (FRAMES - 8 + 1 - 6) // 2 + 1
    return nn.Sequential(
        *[nn.Conv2d(1, 83, (BANDS, 8)), nn.ReLU(), nn.MaxPool2d((1, 6), (1, 2))],
        *head(83 * pooled),
    )


def square() -> nn.Sequential:
    """Two layers of 3 x 3 with 2 x 2 pooling."""
    pooled = (BANDS // 4) * (FRAMES // 4)
    return nn.Sequential(
        *[nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)],
        *[nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)],
        *head(16 * pooled),
    )


def dense() -> nn.Sequential:
    """No filters: each unit sees all."""
    return nn.Sequential(nn.Flatten(), nn.Linear(BANDS * FRAMES, 60), nn.ReLU(), *head(60)[1:])


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "8 bands, all frames": frequency,
    "8 frames, all bands": along_time,
    "3 x 3": square,
    "no filters": dense,
}


def as_examples(speech: Speech, rows: Sequence[int]) -> Examples:
    """Give some of the recordings."""
    schema = Schema(
        kind="tensor",
        input_shape=(1, BANDS, FRAMES),
        target_kind="class",
        class_names=tuple("0123456789"),
    )
    inputs, targets = speech.spectrograms[list(rows)], speech.digits[list(rows)]
    return Examples(inputs=inputs, targets=targets, schema=schema)


def measure(speech: Speech, *, epochs: int, seeds: Sequence[int]) -> dict[str, Any]:
    """Train all networks for each seed and its speakers, and give accuracies and sizes."""
    parts = {seed: cut(speech, HELD_OUT[seed]) for seed in seeds}

    def measured(model: nn.Module, seed: int) -> float:
        return accuracy_after(model, *parts[seed], lr=0.002, epochs=epochs, seed=seed)

    return of_networks(NETWORKS, seeds, measured)


def cut(speech: Speech, held_out: Sequence[str]) -> tuple[Examples, Examples]:
    """Give the recordings of other speakers, and those of the speakers that are held out."""
    rows: dict[bool, list[int]] = {True: [], False: []}
    for row, speaker in enumerate(speech.speakers):
        rows[speaker in held_out].append(row)
    return as_examples(speech, rows[False]), as_examples(speech, rows[True])


def main(speech: Speech | None = None, **small: Any) -> dict[str, Any]:
    """Measure, record and print."""
    parser = argparse.ArgumentParser(description="Spoken digits, with filters of four shapes.")
    parser.add_argument("--quick", action="store_true", help="one epoch on 300, no record")
    quick = parser.parse_args().quick
    if quick:
        small = {"recordings": 300, "epochs": 1, **small}
    settings = {**SETTINGS, **small}
    started = time.perf_counter()
    recordings = settings.pop("recordings")
    if speech is None:
        speech = read((local_data_dir() or Path()) / "fsdd", recordings)
    found = measure(speech, **settings)
    if not quick:
        append_record(
            RECORDS,
            what="frequency filters, spoken digits",
            method=f"recipes/frequency_filters.py, {recordings} recordings, {settings}",
            result=found,
            seeds=list(settings["seeds"]),
            seconds=time.perf_counter() - started,
            threads=threads(),
        )
    return found


if __name__ == "__main__":
    main()
