"""What watching costs: whole training loops with `fitwell.watch`, without, and with histograms.

The same loop over an MLP, a CNN and a small transformer on a CPU, side by side: all loops of a
round go on in turn by a sixtieth of their steps, so that each sees the machine at the same speeds.
One rival is made here: it keeps histograms of gradients and weights every 100 steps by a hook on
each parameter. It is no library's. The other is Cockpit in its economy configuration every 256
steps, where it is installed and can take the model: it needs gradients of single examples, which
BackPACK has for few layers. Cockpit 1.0.2 asks pkg_resources for its version, which new releases of
setuptools no longer have; a stand-in is given then. Memory is the peak of all tensors alive in a
shorter loop, in which looks are close together.

    python benchmarks/watch.py --rounds 10
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import harness

STEPS = {"mlp": 6000, "cnn": 1500, "transformer": 800}
BATCHES = 16
TURNS = 60  # in which the loops of a round go on in turn, as the speed of a machine changes
RIVAL_EVERY = 100
WITHOUT = "without"
HISTOGRAMS = "histograms"
COCKPIT = "cockpit economy"
COCKPIT_EVERY = 256


def transformer() -> Any:
    from torch import Tensor, nn

    class Small(nn.Module):
        """Two layers of attention over 32 vectors, and their mean."""

        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True)
            self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.head = nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.layers(x).mean(dim=1))
            return out

    return Small()


def problem(name: str) -> tuple[Any, list[tuple[Any, Any]]]:
    """Give a model and its batches, the same each time."""
    import torch
    from torch import nn

    from fitwell.nn import CNN, MLP

    torch.manual_seed(0)
    if name == "mlp":
        model, shape = MLP(64, 10, hidden=(128, 128)), (32, 64)
    elif name == "cnn":
        parts = CNN(widths=(16, 32), in_channels=1, image_size=(28, 28), out_features=10)
        model, shape = nn.Sequential(parts), (32, 1, 28, 28)
    else:
        model, shape = transformer(), (16, 32, 64)
    pairs = [(torch.randn(shape), torch.randint(10, shape[:1])) for _ in range(BATCHES)]
    return model, pairs


class Histograms:
    """Keep the histograms of gradients and weights of every hundredth step; home-made."""

    def __init__(self, model: Any) -> None:
        self.kept: list[Any] = []
        self._handles = [p.register_hook(self._hook(p)) for p in model.parameters()]

    def _hook(self, parameter: Any) -> Callable[[Any], None]:
        import torch

        count = 0

        def arrives(gradient: Any) -> None:
            nonlocal count
            count += 1
            if count % RIVAL_EVERY == 0:
                for tensor in (gradient, parameter.detach()):
                    self.kept.append((torch.histc(tensor, 64), tensor.aminmax()))

        return arrives

    def step(self, loss: Any, batch: Any) -> None:
        """Do nothing: the hooks have seen it."""

    def close(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()


class Economy:
    """Cockpit with the quantities of its economy configuration."""

    def __init__(self, model: Any, optimizer: Any, every: int) -> None:
        known = "pkg_resources" in sys.modules
        if not known and importlib.util.find_spec("pkg_resources") is None:
            stand_in: Any = ModuleType("pkg_resources")
            stand_in.DistributionNotFound = LookupError

            def unknown(name: str) -> None:
                raise LookupError(name)

            stand_in.get_distribution = unknown
            sys.modules["pkg_resources"] = stand_in
        from backpack import extend
        from cockpit import Cockpit
        from cockpit.utils import schedules
        from cockpit.utils.configuration import configuration
        from torch.nn import CrossEntropyLoss

        extend(model)
        self._mean = extend(CrossEntropyLoss())
        self._single = CrossEntropyLoss(reduction="none")
        quantities = configuration("economy", track_schedule=schedules.linear(every))
        self._cockpit = Cockpit(model.parameters(), quantities=quantities)
        self._optimizer = optimizer
        self._number = 0

    def backward(self, outputs: Any, targets: Any) -> Any:
        """Take the backward pass in its place, as it asks for."""
        loss = self._mean(outputs, targets)
        info = {
            "batch_size": len(targets),
            "individual_losses": self._single(outputs, targets),
            "loss": loss,
            "optimizer": self._optimizer,
        }
        with self._cockpit(self._number, info=info):
            loss.backward(create_graph=self._cockpit.create_graph(self._number))
        self._number += 1
        return loss

    def step(self, loss: Any, batch: Any) -> None:
        """Do nothing: the backward pass was seen."""

    def close(self) -> None:
        """Do nothing: it has no end."""


def cockpit_works(name: str) -> bool:
    """Say whether Cockpit is installed and takes the model."""
    if any(importlib.util.find_spec(module) is None for module in ("cockpit", "backpack")):
        print(f"{COCKPIT}: not installed", file=sys.stderr)
        return False
    try:
        train(name, 2, lambda model, optimizer: Economy(model, optimizer, 1))
    except Exception as err:
        print(f"{COCKPIT}: cannot take the {name}: {type(err).__name__}: {err}", file=sys.stderr)
        return False
    return True


class Loop:
    """A training that goes on by some steps at a time, and the seconds that it took."""

    def __init__(self, name: str, made: Callable[[Any, Any], Any] | None) -> None:
        import torch

        self.model, self.pairs = problem(name)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        for text in ("Full backward hook is firing", "Extension saving to grad_batch"):  # BackPACK
            warnings.filterwarnings("ignore", message=text)
        self._now = harness.clock(1)
        started = self._now()
        self.watch = None if made is None else made(self.model, self.optimizer)
        self.seconds = self._now() - started
        self._number = 0

    def advance(self, steps: int) -> None:
        """Take some steps."""
        from torch.nn.functional import cross_entropy

        watch, optimizer = self.watch, self.optimizer
        backward = getattr(watch, "backward", None)
        if hasattr(watch, "on_epoch"):
            watch.on_epoch(None)  # what others took meanwhile was no training
        started = self._now()
        for number in range(self._number, self._number + steps):
            x, y = self.pairs[number % BATCHES]
            optimizer.zero_grad()
            outputs = self.model(x)
            if backward is None:
                loss = cross_entropy(outputs, y)
                loss.backward()
            else:
                loss = backward(outputs, y)
            optimizer.step()
            if watch is not None:
                watch.step(loss, (x, y))
        self.seconds += self._now() - started
        self._number += steps

    def close(self) -> None:
        """End the watch."""
        if self.watch is not None:
            self.watch.close()


def train(name: str, steps: int, made: Callable[[Any, Any], Any] | None) -> None:
    """Train alone."""
    loop = Loop(name, made)
    loop.advance(steps)
    loop.close()


def makers(cockpit: bool, every: int | None = None) -> dict[str, Callable[[Any, Any], Any] | None]:
    import fitwell

    rival = {
        COCKPIT: lambda model, optimizer: Economy(model, optimizer, every or COCKPIT_EVERY),
    }
    return {
        harness.OURS: lambda model, optimizer: fitwell.watch(model, optimizer, every=every),
        WITHOUT: None,
        HISTOGRAMS: lambda model, optimizer: Histograms(model),
        **(rival if cockpit else {}),
    }


def peaks(name: str, steps: int, cockpit: bool) -> dict[str, int]:
    """Give the most bytes of tensors alive at once in a loop, for each contestant."""
    from fitwell.train._memory import LiveBytes

    found = {}
    for contestant, made in makers(cockpit, every=5).items():
        live = LiveBytes()
        with live:
            train(name, steps, made)
        found[contestant] = live.peak
    return found


def main() -> None:
    from fitwell.core.records import append_record

    parser = harness.arguments(__doc__, "records/watch.jsonl")
    parser.add_argument("--models", nargs="+", choices=list(STEPS), default=list(STEPS))
    options = parser.parse_args()
    harness.set_threads(1)
    import torch

    torch.set_num_threads(1)
    rounds = 1 if options.quick else options.rounds
    for name in options.models:
        steps = 60 if options.quick else STEPS[name]
        began = time.perf_counter()
        watches: list[Any] = []
        cockpit = cockpit_works(name)
        made_by = makers(cockpit)
        chosen = harness.chosen(list(made_by), options.only)
        for made in made_by.values():
            train(name, 20, made)  # warm up
        seconds: dict[str, list[float]] = {one: [] for one in chosen}
        for number in range(rounds):
            print(name, f"round {number + 1} of {rounds}", end="\r", file=sys.stderr)
            loops = {one: Loop(name, made_by[one]) for one in chosen}
            for turn in range(TURNS):
                shift = turn % len(chosen)
                for one in chosen[shift:] + chosen[:shift]:
                    loops[one].advance(max(1, steps // TURNS))
            for one, loop in loops.items():
                loop.close()
                seconds[one].append(loop.seconds)
            watches.append(loops[harness.OURS].watch.record())
        comparison = harness.Comparison(
            {one: tuple(values) for one, values in seconds.items()}, harness.OURS
        )
        memory = peaks(name, 12, cockpit)
        costs = [record["cost"]["share"] for record in watches]
        looks = [len(record["looks"]["step"]) for record in watches]
        print(f"\n{name}, {steps} steps\n{harness.table(comparison, steps)}")
        print(f"looks {looks}, own account {[f'{100 * c:.2f} %' for c in costs]}, peaks {memory}")
        append_record(
            options.record,
            what=f"watching {steps} steps of a small {name}",
            method="fitwell.watch with everything on",
            result={
                **comparison.to_dict(steps),
                "peak bytes": memory,
                "looks": looks,
                "own share": costs,
            },
            seeds=[0],
            seconds=time.perf_counter() - began,
            clock="CPU time, one thread",
            rounds=rounds,
            quick=options.quick,
        )


if __name__ == "__main__":
    main()
