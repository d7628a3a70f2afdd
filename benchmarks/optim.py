"""Time of an optimizer's step against the best that torch and pytorch_optimizer have.

200 tensors with 5.04 million numbers: matrices, filters and vectors as networks have them, each
with a gradient of its own, as autograd leaves them. A turn is some steps one after the other on
the same gradients. Before anything is timed, all contestants take the same steps from the same
weights and must end at the same place. ``peer`` is pytorch_optimizer, with the loop, the foreach
form, or for Lookahead an inner optimizer of torch; `races` says what each contestant is.

    pip install -c constraints-bench.txt ".[bench]"
    python benchmarks/optim.py --threads 1
    python benchmarks/optim.py --threads 2
    python benchmarks/optim.py --quick --optimizers Adam AdaBound
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
    from torch import Tensor

SHAPES = ((256, 256), (256,), (64, 64, 3, 3), (128,), (256, 256), (256,), (128, 256), (128,))
TENSORS = 200
CHECKED_STEPS = 10
# Sums in another order; the peer's Yogi also begins with a mean of 1e-6 instead of 0.
TOLERANCE = 2e-4
LR = 1e-3

Make = Callable[[Any], Any]


def parameters() -> list[Tensor]:
    """Make the weights and their gradients, the same in every call."""
    import torch

    generator = torch.Generator().manual_seed(0)
    found = []
    for place in range(TENSORS):
        shape = SHAPES[place % len(SHAPES)]
        p = torch.randn(shape, generator=generator).requires_grad_()
        p.grad = torch.randn(shape, generator=generator)
        found.append(p)
    return found


def of_torch(name: str, **settings: Any) -> Mapping[str, Make]:
    """Give the forms that torch has; all but the loop, where it has no others."""
    import torch

    kind = getattr(torch.optim, name)
    forms = {
        "torch_loop": {"foreach": False},
        "torch_foreach": {"foreach": True},
        "torch_fused": {"fused": True},
    }
    return {form: functools.partial(kind, **settings, **how) for form, how in forms.items()}


def races() -> dict[str, dict[str, Make]]:
    """Give the contestants by optimizer; the first one is fitwell's."""
    import pytorch_optimizer as po
    import torch

    from fitwell import optim

    def race(ours: Make, *others: Mapping[str, Make]) -> dict[str, Make]:
        return {harness.OURS: ours, **{k: v for other in others for k, v in other.items()}}

    def peer(kind: Any, **settings: Any) -> dict[str, Make]:
        made = functools.partial(kind, lr=LR, **settings)
        return {
            "peer_loop": functools.partial(made, foreach=False),
            "peer_foreach": functools.partial(made, foreach=True),
        }

    def with_lr(kind: Any, **settings: Any) -> Make:
        return functools.partial(kind, lr=LR, **settings)

    def ahead(inner: Make) -> Make:
        return lambda p: po.Lookahead(inner(p), k=5, alpha=0.5)

    momentum = {"lr": LR, "momentum": 0.9}
    loop = functools.partial(torch.optim.Adam, lr=LR, foreach=False)
    fused = functools.partial(torch.optim.Adam, lr=LR, fused=True)
    return {
        "SGD": race(functools.partial(optim.SGD, **momentum), of_torch("SGD", **momentum)),
        "Adam": race(with_lr(optim.Adam), of_torch("Adam", lr=LR)),
        "AdamW": race(with_lr(optim.AdamW), of_torch("AdamW", lr=LR)),
        "AdaBound": race(with_lr(optim.AdaBound), peer(po.AdaBound)),
        "AMSBound": race(with_lr(optim.AMSBound), peer(po.AdaBound, ams_bound=True)),
        "Yogi": race(with_lr(optim.Yogi), peer(po.Yogi)),
        "AdaBelief": race(with_lr(optim.AdaBelief), peer(po.AdaBelief, rectify=False)),
        "Lion": race(with_lr(optim.Lion), peer(po.Lion)),
        "SGDW": race(with_lr(optim.SGDW), peer(po.SGDW, momentum=0.9, weight_decay=1e-2)),
        "Lookahead": race(
            lambda p: optim.Lookahead(optim.Adam(p, lr=LR), k=5, alpha=0.5),
            {"peer_loop": ahead(loop), "peer_fused": ahead(fused)},
        ),
    }


def check_equal(name: str, makes: Mapping[str, Make]) -> dict[str, float]:
    """Let all take the same steps; give how far each ends from fitwell, as a share of the way."""
    import torch

    start = torch.cat([p.detach().flatten() for p in parameters()])
    ends = {}
    for who, make in makes.items():
        params = parameters()
        optimizer = make(params)
        for _ in range(CHECKED_STEPS):
            optimizer.step()
        ends[who] = torch.cat([p.detach().flatten() for p in params])
    way = (ends[harness.OURS] - start).norm()
    far = {who: ((end - ends[harness.OURS]).norm() / way).item() for who, end in ends.items()}
    wrong = {who: distance for who, distance in far.items() if not distance < TOLERANCE}
    if wrong or not way > 0:
        raise SystemExit(f"optim: {name}: ends differ from fitwell's by {wrong} of the way.")
    return far


def contest(name: str, makes: Mapping[str, Make], options: Namespace) -> None:
    """Check, warm up, time, print and record one optimizer."""
    import torch

    from fitwell.core.records import append_record

    started = time.perf_counter()
    names = harness.chosen(list(makes), options.only)
    far = check_equal(name, {who: makes[who] for who in names})
    clock = harness.clock(options.threads)
    optimizers = {}
    for who in names:
        optimizers[who] = makes[who](parameters())
        optimizers[who].step()

    def turn(who: str) -> float:
        begun = clock()
        for _ in range(options.steps):
            optimizers[who].step()
        return (clock() - begun) / options.steps

    comparison = harness.compare(
        {who: functools.partial(turn, who) for who in names},
        options.rounds,
        progress=lambda text: print(text, end="\r", file=sys.stderr),
    )
    what = f"step of {name}, {options.threads} thread{'s' if options.threads > 1 else ''}"
    print(f"\n{what}\n{harness.table(comparison)}")
    if options.quick:
        return
    append_record(
        options.record,
        what=what,
        method=f"{name}, {TENSORS} tensors",
        result=comparison.to_dict(),
        seeds=[0],
        seconds=time.perf_counter() - started,
        clock="process CPU time" if options.threads == 1 else "wall time",
        rounds=options.rounds,
        steps_per_turn=options.steps,
        numbers=sum(p.numel() for p in parameters()),
        threads=torch.get_num_threads(),
        distance_of_ends=far,
    )


def main() -> None:
    parser = harness.arguments(__doc__, "records/optim.jsonl")
    parser.add_argument("--threads", type=int, default=1, help="1: CPU time; more: wall time")
    parser.add_argument("--steps", type=int, default=10, help="steps of a turn")
    parser.add_argument("--optimizers", nargs="+", metavar="NAME", help="only these")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps = 3, 3
    harness.set_threads(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    known = races()
    if unknown := set(options.optimizers or ()) - set(known):
        raise SystemExit(f"--optimizers: none named {sorted(unknown)}; there are {list(known)}.")
    for name in options.optimizers or known:
        contest(name, known[name], options)


if __name__ == "__main__":
    main()
