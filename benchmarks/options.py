"""Ways to take the same steps: precision, layout, recomputation and compilation.

For each model, a step of every way is timed in turns, on the same batch with the optimizer of the
default recipe. Compilation happens before; its seconds are recorded beside. float32 is what
the others are compared with.

    python benchmarks/options.py --rounds 10
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import harness

BASE = "float32"
MODELS = {
    # name: (model, shape of an example, batch size, steps per turn)
    "MLP batch 32": ("MLP()", (64,), 32, 40),
    "CNN batch 128": ("CNN()", (1, 28, 28), 128, 4),
    "ResNet20 batch 128": ("ResNet20()", (3, 32, 32), 128, 2),
    "ResNet18 batch 32": ("ResNet18()", (3, 32, 32), 32, 1),
}
WAYS: dict[str, dict[str, Any]] = {
    BASE: {},
    "bf16": {"precision": "bf16"},
    "channels last": {"channels_last": True},
    "bf16, channels last": {"precision": "bf16", "channels_last": True},
    "recompute": {"recompute": True},
    "compiled": {"compiled": True},
}


def stepper(
    spec: str, shape: tuple[int, ...], size: int, way: dict[str, Any]
) -> Callable[[], None]:
    """Build a model and give a function that takes one step with it."""
    import torch
    from torch.nn import functional as F

    from fitwell.core.spec import build
    from fitwell.nn import MODELS as KNOWN
    from fitwell.optim import AdamW
    from fitwell.train import autocast, recompute_activations

    torch.manual_seed(0)
    given = (
        {"in_features": shape[0]}
        if len(shape) == 1
        else {"in_channels": shape[0], "image_size": shape[1:]}
    )
    model = build(spec, KNOWN, owner="options", what="model", **given, out_features=10)
    if way.get("channels_last"):
        model = model.to(memory_format=torch.channels_last)
    if way.get("recompute"):
        recompute_activations(model)
    forward = torch.compile(model) if way.get("compiled") else model
    optimizer = AdamW(model.parameters(), lr=1e-3)
    x, y = torch.rand(size, *shape), torch.randint(10, (size,))

    def step() -> None:
        with autocast(way.get("precision", "float32"), "cpu"):
            loss = F.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def contestant(step: Callable[[], None], count: int, clock: Callable[[], float]) -> Any:
    def run() -> float:
        started = clock()
        for _ in range(count):
            step()
        return (clock() - started) / count

    return run


def measure(options: Namespace) -> None:
    import torch

    from fitwell.core.records import append_record

    torch.set_num_threads(options.threads)
    for name, (spec, shape, size, count) in MODELS.items():
        if options.models and name not in options.models:
            continue
        began = time.perf_counter()
        flat = len(shape) == 1
        ways = [w for w in WAYS if not (flat and ("channels" in w or w == "recompute"))]
        contestants, compiled = {}, 0.0
        for way in harness.chosen(ways, options.only) if options.only else ways:
            step = stepper(spec, shape, size, WAYS[way])
            started = time.perf_counter()
            for _ in range(2):
                step()
            if way == "compiled":
                compiled = time.perf_counter() - started
            contestants[way] = contestant(step, count, harness.clock(options.threads))
        comparison = harness.compare(
            contestants,
            options.rounds,
            base=BASE,
            progress=lambda text: print(text, end="\r", file=sys.stderr),
        )
        print(f"\n{name}\n{harness.table(comparison, size)}")
        append_record(
            options.record,
            what=name,
            method=f"{spec} on {shape}, batch {size}, AdamW",
            result=comparison.to_dict(size),
            seeds=[0],
            seconds=time.perf_counter() - began,
            clock="CPU time" if options.threads == 1 else "wall time",
            rounds=options.rounds,
            threads=options.threads,
            steps_per_round=count,
            compile_seconds=round(compiled, 1),
            quick=options.quick,
        )


def main() -> None:
    parser = harness.arguments(__doc__, "records/options.jsonl")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--models", nargs="+", metavar="NAME", help="only these models")
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    harness.set_threads(options.threads)
    measure(options)


if __name__ == "__main__":
    main()
