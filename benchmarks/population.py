"""Time of K small trainings: as a population, one after the other, and as others would do it.

K networks learn the handwritten digits, each from first weights and an order of its own. Every
contestant ends at the same weights up to rounding, which is checked first. ``one after the other``
is `fitwell.train.Trainer` for each; ``torch_func`` is ``vmap(grad(...))`` of `torch.func` over
stacked parameters, as its documentation shows; ``joblib`` spreads the trainings over processes of
one thread each, ``ray_tune`` over trials of Ray Tune. fitwell's time includes its choice between a
stack and one after the other; what it chose is recorded.

    pip install -c constraints-bench.txt ".[bench]"
    python benchmarks/population.py --threads 2
    python benchmarks/population.py --quick --cases "MLP, K=5, batch 32"
"""

from __future__ import annotations

import functools
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import harness

RATE = 0.02
TOLERANCE = 0.02  # of the way from the first weights; rounding decides between equals in a pool


@final
@dataclass(frozen=True)
class Case:
    """What is trained.

    Args:
        model: Printed form.
        members: K.
        batch: Examples per batch.
        epochs: Passes over the data.
        rivals: Contestants that take part besides fitwell and one after the other.
        examples: How many of the data set; None is all.
    """

    model: str
    members: int
    batch: int
    epochs: int
    rivals: tuple[str, ...]
    examples: int | None = None


MLP, SMALL, USUAL = "MLP(hidden=(64,))", "CNN(widths=(8, 16), convs=1, dropout=0)", "CNN(dropout=0)"
ALL = ("torch_func", "joblib", "ray_tune")
CASES = {
    "MLP, K=5, batch 32": Case(MLP, 5, 32, 20, ALL),
    "MLP, K=20, batch 32": Case(MLP, 20, 32, 20, ALL),
    "MLP, K=100, batch 32": Case(MLP, 100, 32, 10, ("torch_func", "joblib")),
    "MLP, K=20, batch 256": Case(MLP, 20, 256, 40, ("torch_func", "joblib")),
    "MLP of 256 and 128, K=20, batch 32": Case("MLP()", 20, 32, 8, ("torch_func", "joblib")),
    "small CNN, K=5, batch 32": Case(SMALL, 5, 32, 10, ALL),
    "small CNN, K=20, batch 32": Case(SMALL, 20, 32, 5, ALL),
    "small CNN, K=100, batch 32": Case(SMALL, 100, 32, 2, ("torch_func", "joblib")),
    "CNN, K=20, batch 32": Case(USUAL, 20, 32, 2, ("torch_func", "joblib")),
    "CNN, K=20, batch 256": Case(USUAL, 20, 256, 4, ("torch_func", "joblib")),
}


KEPT: dict[str, Any] = {}  # in each process; a cached function could not be sent to another


def digits() -> Any:
    from fitwell.data import load_builtin

    if "digits" not in KEPT:
        KEPT["digits"] = load_builtin("digits")
    return KEPT["digits"]


def parts(case: Case, seed: int) -> dict[str, Any]:
    """Give what a training is made of, the same for every contestant."""
    import torch

    from fitwell.data import Batches
    from fitwell.losses import CrossEntropy
    from fitwell.tasks import IMAGES, make_optimizer
    from fitwell.train import Supervised

    splits = digits()
    train = splits.train if case.examples is None else splits.train.select(range(case.examples))
    torch.manual_seed(seed)
    fitted = IMAGES.fit_scaling(splits.schema, splits.train)
    model = IMAGES.build_model(case.model, splits.schema, fitted)
    return {
        "model": model,
        "objective": Supervised(CrossEntropy()),
        "optimizer": make_optimizer(f"SGD(lr={RATE}, momentum=0.9)", model),
        "train": Batches(train, case.batch, shuffle=True, seed=seed),
    }


def population(case: Case, chosen: dict[str, str]) -> list[Any]:
    from fitwell.train import Member, Population

    members = [
        Member(**parts(case, seed), epochs=case.epochs, seed=seed) for seed in range(case.members)
    ]
    together = Population(members)
    together.fit()
    chosen["how"] = " and ".join(map(str, together.choices.values()))
    return [member.model for member in members]


def train_one(case: Case, seed: int, threads: int | None = None) -> Any:
    import torch

    from fitwell.train import Trainer

    if threads is not None:
        torch.set_num_threads(threads)
    given = parts(case, seed)
    trainer = Trainer(given["model"], given["objective"], given["optimizer"])
    trainer.fit(given["train"], epochs=case.epochs)
    return given["model"]


def one_after_the_other(case: Case) -> list[Any]:
    return [train_one(case, seed) for seed in range(case.members)]


def torch_func(case: Case) -> list[Any]:
    import torch
    from torch.func import functional_call, grad_and_value, stack_module_state, vmap
    from torch.nn.functional import cross_entropy

    made = [parts(case, seed) for seed in range(case.members)]
    models = [one["model"] for one in made]
    for model in models:
        model.train()
    stacked, buffers = stack_module_state(models)
    optimizer = torch.optim.SGD(stacked.values(), lr=RATE, momentum=0.9, fused=True)

    def loss(weights: Any, kept: Any, x: Any, y: Any) -> Any:
        return cross_entropy(functional_call(models[0], (weights, kept), (x,)), y)

    step = vmap(grad_and_value(loss), randomness="different")
    for _ in range(case.epochs):
        for batches in zip(*(one["train"] for one in made), strict=True):
            x = torch.stack([batch.inputs for batch in batches])
            y = torch.stack([batch.targets for batch in batches])
            values = {name: p.detach() for name, p in stacked.items()}
            gradients, _ = step(values, buffers, x, y)
            for name, p in stacked.items():
                p.grad = gradients[name]
            optimizer.step()
    with torch.no_grad():
        for k, model in enumerate(models):
            for name, p in model.named_parameters():
                p.copy_(stacked[name][k])
    return models


def joblib(case: Case) -> list[Any]:
    from joblib import Parallel, delayed

    trained = Parallel(n_jobs=2)(delayed(train_one)(case, k, 1) for k in range(case.members))
    return list(trained)


def ray_tune(case: Case) -> list[Any]:
    import ray
    from ray import tune

    def trial(config: dict[str, int]) -> None:
        import torch

        model = train_one(case, config["seed"], 1)
        flat = torch.cat([p.detach().flatten() for p in model.parameters()])
        tune.report({"seed": config["seed"], "weights": flat.tolist()})

    space = {"seed": tune.grid_search(list(range(case.members)))}
    found = tune.Tuner(
        trial, param_space=space, run_config=tune.RunConfig(verbose=0, storage_path="/tmp/ray_tune")
    ).fit()
    del ray
    by_seed = sorted((result.metrics for result in found), key=lambda one: one["seed"])
    return [one["weights"] for one in by_seed]


def contestants(case: Case, chosen: dict[str, str]) -> dict[str, Callable[[], list[Any]]]:
    rivals = {"torch_func": torch_func, "joblib": joblib, "ray_tune": ray_tune}
    return {
        harness.OURS: functools.partial(population, case, chosen),
        "one after the other": functools.partial(one_after_the_other, case),
        **{name: functools.partial(rivals[name], case) for name in case.rivals},
    }


def flat(model: Any) -> Any:
    import torch

    if isinstance(model, list):
        return torch.tensor(model)
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def distance(ours: Sequence[Any], theirs: Sequence[Any], case: Case) -> float:
    """Give how far ends are apart, as a share of the way from the first weights."""
    pairs = zip(ours, theirs, strict=True)
    starts = [flat(parts(case, seed)["model"]) for seed in range(case.members)]
    return max(
        ((flat(a) - flat(b)).norm() / (flat(a) - s).norm()).item()
        for (a, b), s in zip(pairs, starts, strict=True)
    )


def contest(name: str, options: Namespace) -> None:
    import torch

    from fitwell.core.records import append_record

    started = time.perf_counter()
    case = CASES[name]
    chosen: dict[str, str] = {}
    runs = contestants(case, chosen)
    names = harness.chosen(list(runs), options.only)
    if options.threads == 1:  # processes of their own are not on its clock
        names = [one for one in names if one not in ("joblib", "ray_tune")]
    # Rounding grows from step to step where pools and rectifiers have kinks.
    short = Case(case.model, case.members, case.batch, 1, case.rivals, 4 * case.batch)
    ends = {one: contestants(short, {})[one]() for one in names}
    far = {one: distance(ends[harness.OURS], ends[one], short) for one in names}
    if wrong := {one: value for one, value in far.items() if not value < options.tolerance}:
        raise SystemExit(f"population: {name}: ends differ from fitwell's by {wrong} of the way.")
    clock = harness.clock(options.threads)

    def turn(act: Callable[[], list[Any]]) -> float:
        begun = clock()
        act()
        return clock() - begun

    slow = {"ray_tune"} & set(names)
    measured = case if not options.quick else short
    again = contestants(measured, chosen)
    comparison = harness.compare(
        {one: functools.partial(turn, again[one]) for one in names if one not in slow},
        options.rounds,
        progress=lambda text: print(text, end="\r", file=sys.stderr),
    )
    once = {one: turn(again[one]) for one in slow}
    examples = measured.examples or len(digits().train)
    count = measured.members * measured.epochs * examples
    print(f"\n{name}, {options.threads} threads: {chosen.get('how')}")
    print(harness.table(comparison, count))
    for one, seconds in once.items():
        print(f"{one:<18}{seconds:>10.4f}  once")
    if options.quick:
        return
    result = comparison.to_dict(count)
    ours = comparison.median(harness.OURS)
    for one, seconds in once.items():
        result[one] = {"seconds": [seconds], "median": seconds, "ratio": seconds / ours}
    append_record(
        options.record,
        what=f"population, {name}, {options.threads} thread{'s' if options.threads > 1 else ''}",
        method=f"{case.members} x {case.model}, batch {case.batch}, {case.epochs} epochs",
        result=result,
        seeds=list(range(case.members)),
        seconds=time.perf_counter() - started,
        chosen=chosen.get("how"),
        clock="process CPU time" if options.threads == 1 else "wall time",
        rounds=options.rounds,
        threads=torch.get_num_threads(),
        distance_of_ends=far,
    )


def main() -> None:
    parser = harness.arguments(__doc__, "records/population.jsonl")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="only these cases")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    harness.set_threads(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    unknown = sorted(set(options.cases or ()) - set(CASES))
    if unknown:
        raise SystemExit(f"--cases: no case named {unknown}; there are {sorted(CASES)}.")
    for name in options.cases or CASES:
        contest(name, options)


if __name__ == "__main__":
    main()
