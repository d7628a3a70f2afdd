"""A convolutional network for sentences (kim2014convolutional) on the questions of TREC, six kinds.

Windows of three, four and five words against windows of single words, which know no order, with as
many filters. The word vectors begin at random and are learned with the rest: the higher published
numbers take vectors learned from other text, which could not be had when this was written
(`TextCNN` takes them as `vectors`). Words are split at blanks, in lower case, the first 20 of each
question; those that the training part has only once, or not at all, share one token.

    python recipes/text_cnn.py                  # reads $FITWELL_DATA/sentence_classification
    python recipes/text_cnn.py --quick          # does it work? A second, no record
"""

from __future__ import annotations

import argparse
import gzip
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from recording import RECORDS, accuracy_after, of_networks, threads
from torch import Tensor, nn

from fitwell.core.errors import DataError
from fitwell.core.files import local_data_dir
from fitwell.core.records import append_record
from fitwell.data import Examples, Schema
from fitwell.nn import TextCNN

KINDS = ("description", "entity", "abbreviation", "person", "number", "place")
PADDING, RARE = 0, 1
LONGEST = 20
"""Two in a hundred questions are longer."""
WINDOWS = {"windows of 3, 4 and 5 words": (3, 4, 5), "windows of 1 word": (1,)}
FILTERS = 300
SETTINGS: dict[str, Any] = {"questions": 5_452, "epochs": 8, "seeds": (0, 1)}

Question = tuple[int, list[str]]


def read(folder: Path) -> dict[str, list[Question]]:
    """Read both parts, as published: the kind of each question, and its words."""
    parts: dict[str, list[Question]] = {}
    for part in ("train", "test"):
        file = folder / f"TREC.{part}.all.gz"
        if not file.exists():
            raise DataError(
                f"text_cnn: {file} must be there; got none. Set FITWELL_DATA to the folder that has"
                " sentence_classification."
            )
        lines = gzip.decompress(file.read_bytes()).decode("latin-1").splitlines()
        pairs = (line.split(maxsplit=1) for line in lines)
        parts[part] = [(int(kind), text.lower().split()[:LONGEST]) for kind, text in pairs]
    return parts


def vocabulary(questions: Sequence[Question]) -> dict[str, int]:
    """Number the words that occur twice or more; 0 is padding and 1 any other word."""
    counts = Counter(word for _, words in questions for word in words)
    return {word: n for n, word in enumerate((w for w in counts if counts[w] > 1), RARE + 1)}


def as_tokens(questions: Sequence[Question], words: Mapping[str, int]) -> Examples:
    """Look the words up, and fill the questions up to the longest there is."""
    tokens = [torch.tensor([words.get(word, RARE) for word in text]) for _, text in questions]
    inputs = torch.nn.utils.rnn.pad_sequence(tokens, batch_first=True, padding_value=PADDING)
    shape = tuple(inputs.shape[1:])
    schema = Schema(kind="tensor", input_shape=shape, target_kind="class", class_names=KINDS)
    targets: Tensor = torch.tensor([kind for kind, _ in questions])
    return Examples(inputs=inputs, targets=targets, schema=schema)


def network(vocab_size: int, windows: tuple[int, ...], *, embed_dim: int = 300) -> TextCNN:
    """Build a network; the filters are shared among the windows."""
    return TextCNN(
        vocab_size,
        len(KINDS),
        embed_dim=embed_dim,
        windows=windows,
        filters=FILTERS // len(windows),
        padding_idx=PADDING,
    )


def measure(
    parts: Mapping[str, Sequence[Question]],
    *,
    questions: int,
    epochs: int,
    seeds: Sequence[int],
) -> dict[str, Any]:
    """Train both networks for each seed, and give accuracies and sizes."""
    known = parts["train"][:questions]
    words = vocabulary(known)
    train, test = as_tokens(known, words), as_tokens(parts["test"], words)
    size = len(words) + RARE + 1
    networks = {name: partial(network, size, windows) for name, windows in WINDOWS.items()}

    def measured(model: nn.Module, seed: int) -> float:
        settings: dict[str, Any] = {"lr": 0.001, "epochs": epochs, "batch_size": 50}
        return accuracy_after(model, train, test, seed=seed, **settings)

    return of_networks(networks, seeds, measured)


def main(parts: Mapping[str, Sequence[Question]] | None = None, **small: Any) -> dict[str, Any]:
    """Measure, record and print."""
    parser = argparse.ArgumentParser(description="Kinds of questions, with windows of words.")
    parser.add_argument("--quick", action="store_true", help="one epoch on 100, no record")
    quick = parser.parse_args().quick
    if quick:
        small = {"questions": 100, "epochs": 1, "seeds": (0,), **small}
    settings = {**SETTINGS, **small}
    started = time.perf_counter()
    found = measure(
        parts or read((local_data_dir() or Path()) / "sentence_classification"), **settings
    )
    if not quick:
        append_record(
            RECORDS,
            what="text cnn, questions of TREC",
            method=f"recipes/text_cnn.py, {settings}",
            result=found,
            seeds=list(settings["seeds"]),
            seconds=time.perf_counter() - started,
            threads=threads(),
        )
    return found


if __name__ == "__main__":
    main()
