"""What pooling costs a network that must name a point of a Go board (silver2016mastering).

Random games on 9 x 9; in the positions used, exactly one move captures. The same convolutions, with
the same weights, name that move from the stones alone: once with the board at full size in
every layer, and once with 2 x 2 max pooling between the layers and the maps enlarged again at the
end. The claim: the second is right less often.
"""

from __future__ import annotations

import argparse
import random
import time
from itertools import pairwise
from typing import Any, Literal

import torch
from recording import RECORDS, accuracy_after, of_networks, threads
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.records import append_record
from fitwell.data import GO_PLANES, Examples, GoBoard, Schema, go_planes
from fitwell.nn import conv_norm_relu

SIZE = 9
CAPTURES = [n for n, name in enumerate(GO_PLANES) if name.startswith("stones captured")][1:]
SETTINGS: dict[str, Any] = {"train": 3_000, "test": 1_000, "epochs": 12, "seeds": (0, 1)}


def positions(count: int, seed: int) -> Examples:
    """Play random games and keep the positions in which exactly one move captures."""
    draws = random.Random(seed)
    boards: list[Tensor] = []
    moves: list[int] = []
    while len(boards) < count:
        board = GoBoard(SIZE)
        for _ in range(SIZE * SIZE):
            legal = board.legal_moves()
            if not legal:
                break
            board.play(draws.choice(legal))
            if draws.random() < 0.25:  # neighbors in a game are much alike
                planes = go_planes(board)
                captures = planes[CAPTURES].sum(0).flatten()
                if captures.sum() == 1:
                    boards.append(planes[:3].float())
                    moves.append(int(captures.argmax()))
    names = tuple(f"row {place // SIZE}, column {place % SIZE}" for place in range(SIZE * SIZE))
    shape = (3, SIZE, SIZE)
    return Examples(
        inputs=torch.stack(boards[:count]),
        targets=torch.tensor(moves[:count]),
        schema=Schema(kind="images", input_shape=shape, target_kind="class", class_names=names),
    )


class Policy(nn.Module):
    """One number per point of the board, from a stack of 3 x 3 convolutions."""

    def __init__(self, pool: Literal["none", "max"], *, width: int = 24, layers: int = 5) -> None:
        super().__init__()
        channels = [3, *[width] * layers]
        self.convs = nn.ModuleList(
            conv_norm_relu(before, after) for before, after in pairwise(channels)
        )
        self.point = nn.Conv2d(width, 1, 1)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Give logits, (B, points).

        Args:
            x: (B, 3, H, W).
        """
        size = x.shape[2:]
        for place, conv in enumerate(self.convs):
            x = conv(x)
            if self.pool == "max" and place in (1, 3):
                x = F.max_pool2d(x, 2, ceil_mode=True)
        if self.pool == "max":
            x = F.interpolate(x, size=size, mode="bilinear")
        logits: Tensor = self.point(x).flatten(1)
        return logits


def measure(*, train: int, test: int, epochs: int, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Train both networks for each seed."""
    known, fresh = positions(train, 0), positions(test, 1)
    networks = {"full size": lambda: Policy("none"), "pooled": lambda: Policy("max")}

    def measured(model: nn.Module, seed: int) -> float:
        return accuracy_after(model, known, fresh, lr=0.003, epochs=epochs, seed=seed)

    return of_networks(networks, seeds, measured)


def main(**small: Any) -> dict[str, Any]:
    """Measure, record and print."""
    argparse.ArgumentParser(description="Go with and without pooling.").parse_args()
    settings = {**SETTINGS, **small}
    started = time.perf_counter()
    found = measure(**settings)
    append_record(
        RECORDS,
        what="go, pooling",
        method=f"recipes/go_pooling.py, {settings}",
        result=found,
        seeds=list(settings["seeds"]),
        seconds=time.perf_counter() - started,
        threads=threads(),
    )
    return found


if __name__ == "__main__":
    main()
