"""Time of eigenvalues and trace of a network's Hessian, against PyHessian and the whole matrix.

The five largest eigenvalues: each contestant is asked for its usual accuracy, and what it finds is
first compared with Lanczos run to a far smaller residual. The trace: each takes the same number of
random vectors, so that the time per product is compared; how far each ends from a long run is
recorded. ``torch_func`` forms the whole Hessian with torch.func and is only asked where that is
feasible. A turn begins with the model and the batch, so that building the graph counts.

PyHessian 0.1 asks numpy for ``np.product``, which newer ones call ``np.prod``; it gets it.

    pip install -c constraints-bench.txt ".[bench]"
    python benchmarks/hessian.py --threads 1
    python benchmarks/hessian.py --threads 2
    python benchmarks/hessian.py --quick
"""

from __future__ import annotations

import functools
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import harness

if TYPE_CHECKING:
    from torch import Tensor, nn

TOP = 5
VECTORS = 50
# PyHessian stops when an eigenvalue changes by less than a thousandth from step to step, which may
# be some hundredths before its end where eigenvalues lie close. How far each ends is recorded.
TOLERANCE = 5e-2
SMALL = 1000  # weights up to which the whole matrix is formed

Problem = tuple["nn.Module", "Tensor", "Tensor"]


def network(examples: int) -> Problem:
    """Make a convolutional network of some ten thousand weights and a batch."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10)),
    )
    return trained(model, torch.randn(examples, 1, 8, 8), examples)


def small_network(examples: int) -> Problem:
    """Make a perceptron whose whole Hessian can be formed."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 24), nn.Tanh(), nn.Linear(24, 10))
    return trained(model, torch.randn(examples, 10), examples)


def trained(model: nn.Module, x: Tensor, examples: int) -> Problem:
    """Train a little: at the beginning the spectrum of a network is not what it will be."""
    import torch
    from torch import nn

    y = (x.flatten(1)[:, :10] + 0.3 * torch.randn(examples, 10)).argmax(1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    optimizer.zero_grad()
    return model.eval(), x, y


def pyhessian(problem: Problem) -> Any:
    """Give PyHessian's object for a problem."""
    import warnings

    import numpy as np

    if not hasattr(np, "product"):
        np.product = np.prod
    from pyhessian import hessian
    from torch import nn

    model, x, y = problem
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that gradients hold a graph
        return hessian(model, nn.CrossEntropyLoss(), data=(x, y), cuda=False)


def released(model: nn.Module) -> None:
    """Drop gradients that hold a graph."""
    for p in model.parameters():
        p.grad = None


def whole(problem: Problem) -> Tensor:
    """Form the whole Hessian with torch.func."""
    import torch
    from torch.func import functional_call, hessian
    from torch.nn.functional import cross_entropy

    model, x, y = problem
    names = [name for name, _ in model.named_parameters()]
    shapes = [p.shape for p in model.parameters()]
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])

    def loss(weights: Tensor) -> Tensor:
        parts = weights.split([shape.numel() for shape in shapes])
        given = {n: p.view(s) for n, p, s in zip(names, parts, shapes, strict=True)}
        return cross_entropy(functional_call(model, given, (x,)), y)

    return hessian(loss)(flat)


def eigenvalues(problem: Problem, small: bool) -> dict[str, Callable[[], list[float]]]:
    """Give how each contestant finds the five largest eigenvalues."""
    import torch
    from torch import nn

    from fitwell.doctor import Curvature, extreme_eigenvalues

    model, x, y = problem

    def ours() -> list[float]:
        curvature = Curvature(model, nn.CrossEntropyLoss(), (x, y))
        return list(extreme_eigenvalues(curvature, largest=TOP).values)

    def theirs() -> list[float]:
        torch.manual_seed(0)
        found = pyhessian(problem).eigenvalues(top_n=TOP)[0]
        released(model)
        return list(found)

    def of_torch() -> list[float]:
        values = torch.linalg.eigvalsh(whole(problem))
        return values.flip(0)[:TOP].tolist()

    ways = {harness.OURS: ours, "pyhessian": theirs, "torch_func": of_torch}
    return ways if small else {k: v for k, v in ways.items() if k != "torch_func"}


def traces(problem: Problem, small: bool) -> dict[str, Callable[[], list[float]]]:
    """Give how each contestant estimates the trace from the same number of products."""
    import torch
    from torch import nn

    from fitwell.doctor import Curvature, estimate_trace

    model, x, y = problem

    def ours() -> list[float]:
        curvature = Curvature(model, nn.CrossEntropyLoss(), (x, y))
        return [estimate_trace(curvature, products=VECTORS).value]

    def theirs() -> list[float]:
        torch.manual_seed(0)
        found = pyhessian(problem).trace(maxIter=VECTORS, tol=0)
        released(model)
        return [sum(found) / len(found)]

    def of_torch() -> list[float]:
        return [float(whole(problem).trace())]

    ways = {harness.OURS: ours, "pyhessian": theirs, "torch_func": of_torch}
    return ways if small else {k: v for k, v in ways.items() if k != "torch_func"}


def truth(problem: Problem, what: str) -> list[float]:
    """Give the eigenvalues to a small residual, or the trace by a long run."""
    from torch import nn

    from fitwell.doctor import Curvature, estimate_trace, extreme_eigenvalues

    curvature = Curvature(problem[0], nn.CrossEntropyLoss(), problem[1:])
    if what == "trace":
        return [estimate_trace(curvature, products=1000).value]
    found = extreme_eigenvalues(curvature, largest=TOP, tolerance=1e-5, max_products=400, seed=1)
    if not found.settled:
        raise SystemExit("hessian: the reference did not converge.")
    return list(found.values)


def check_equal(name: str, what: str, far: Mapping[str, float]) -> None:
    """Stop if eigenvalues differ; estimates of a trace may."""
    wrong = {who: distance for who, distance in far.items() if not distance < TOLERANCE}
    if wrong and what == "eigenvalues":
        raise SystemExit(f"hessian: {name}: eigenvalues differ from the reference by {wrong}.")


def contest(name: str, what: str, problem: Problem, options: Namespace) -> None:
    """Check, time, print and record one question to one network."""
    import torch

    from fitwell.core.records import append_record

    started = time.perf_counter()
    weights = sum(p.numel() for p in problem[0].parameters())
    asked = {"eigenvalues": eigenvalues, "trace": traces}[what](problem, weights <= SMALL)
    names = harness.chosen(list(asked), [who for who in options.only or asked if who in asked])
    true = truth(problem, what)
    found = {who: asked[who]() for who in names}
    far = {
        who: max(abs(a - b) for a, b in zip(values, true, strict=True)) / abs(true[0])
        for who, values in found.items()
    }
    check_equal(name, what, far)
    clock = harness.clock(options.threads)

    def turn(who: str) -> float:
        begun = clock()
        asked[who]()
        return clock() - begun

    comparison = harness.compare(
        {who: functools.partial(turn, who) for who in names},
        options.rounds,
        progress=lambda text: print(text, end="\r", file=sys.stderr),
    )
    title = f"{what} of the Hessian, {name}, {options.threads} thread"
    title += "s" if options.threads > 1 else ""
    print(f"\n{title}\n{harness.table(comparison)}")
    print("distance from the reference: " + ", ".join(f"{k} {v:.1e}" for k, v in far.items()))
    if options.quick:
        return
    append_record(
        options.record,
        what=title,
        method=f"top {TOP}" if what == "eigenvalues" else f"{VECTORS} products",
        result=comparison.to_dict(),
        seeds=[0],
        seconds=time.perf_counter() - started,
        clock="process CPU time" if options.threads == 1 else "wall time",
        rounds=options.rounds,
        weights=weights,
        examples=options.examples,
        threads=torch.get_num_threads(),
        distance_from_reference=far,
    )


def main() -> None:
    parser = harness.arguments(__doc__, "records/hessian.jsonl")
    parser.add_argument("--threads", type=int, default=1, help="1: CPU time; more: wall time")
    parser.add_argument("--examples", type=int, default=512, help="in the batch")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.examples = 2, 128
    harness.set_threads(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    for name, make in (("CNN", network), ("MLP", small_network)):
        for what in ("eigenvalues", "trace"):
            contest(name, what, make(options.examples), options)


if __name__ == "__main__":
    main()
