"""Grid search by scikit-learn over `fitwell.Classifier` and over skorch: same answers, how fast.

Both search width and learning rate of one network on the breast cancer set, with the same folds,
first weights, order of examples and optimizer, so that every score should agree. That is checked
before the result is recorded.

    pip install -c constraints-bench.txt ".[bench]"
    python benchmarks/estimator.py --threads 1
    python benchmarks/estimator.py --quick --record /tmp/estimator.jsonl
"""

from __future__ import annotations

import functools
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import harness

from fitwell.core.records import append_record

WIDTHS = (2, 32)
RATES = (1e-4, 3e-3, 0.1)
BATCH, MOMENTUM, SEED, FOLDS = 32, 0.9, 0, 5
# A weight differs in its last bits, since fitwell scales inputs once more; one answer of a fold may
# then tip over.
ANSWERS = 1


def net(in_features: int, out_features: int, width: int) -> Any:
    from torch import nn

    hidden = nn.Linear(in_features, width)
    return nn.Sequential(hidden, nn.ReLU(), nn.Linear(width, out_features))


def fitwell_estimator(epochs: int) -> tuple[Any, dict[str, list[Any]]]:
    from fitwell import Classifier

    estimator = Classifier(
        optimizer=f"SGD(momentum={MOMENTUM})",
        schedule="Constant()",
        epochs=epochs,
        batch_size=BATCH,
        device="cpu",
        random_state=SEED,
    )
    models = [functools.partial(net, width=width) for width in WIDTHS]
    return estimator, {"net__model": models, "net__lr": list(RATES)}


def skorch_estimator(epochs: int) -> tuple[Any, dict[str, list[Any]]]:
    import skorch
    import torch

    class Seeded(skorch.NeuralNetClassifier):
        """Draws the first weights from the seed."""

        def initialize_module(self) -> Any:
            torch.manual_seed(SEED)
            return super().initialize_module()

    estimator = Seeded(
        net,
        module__in_features=30,
        module__out_features=2,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=MOMENTUM,
        max_epochs=epochs,
        batch_size=BATCH,
        iterator_train__shuffle=True,
        iterator_train__generator=torch.Generator().manual_seed(SEED),
        train_split=None,
        verbose=0,
    )
    return estimator, {"net__module__width": list(WIDTHS), "net__lr": list(RATES)}


CONTESTANTS: dict[str, Callable[[int], tuple[Any, dict[str, list[Any]]]]] = {
    harness.OURS: fitwell_estimator,
    "skorch": skorch_estimator,
}


def search(name: str, epochs: int) -> Any:
    """Run the search and give it; its last step is a fit on everything."""
    import numpy as np
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_breast_cancer(return_X_y=True)
    estimator, grid = CONTESTANTS[name](epochs)
    steps = Pipeline([("scale", StandardScaler()), ("net", estimator)])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    return GridSearchCV(steps, grid, cv=folds).fit(x.astype(np.float32), y)


def best(found: Any) -> dict[str, float]:
    """Give the best width and rate, whatever the parameters are called."""
    chosen = dict(found.best_params_)
    width = chosen.get("net__module__width") or chosen["net__model"].keywords["width"]
    return {"width": width, "lr": chosen["net__lr"]}


def scores(found: Any) -> Any:
    """Give the score of every fold, by width, rate and fold."""
    import numpy as np

    names = ("net__module__width", "net__model")
    widths = [next(p[n] for n in names if n in p) for p in found.cv_results_["params"]]
    keys = [
        (getattr(w, "keywords", {}).get("width", w), p["net__lr"])
        for w, p in zip(widths, found.cv_results_["params"], strict=True)
    ]
    table = np.array([found.cv_results_[f"split{fold}_test_score"] for fold in range(FOLDS)]).T
    order = sorted(range(len(keys)), key=lambda place: keys[place])
    return table[order]


def measure(options: Namespace) -> None:
    import numpy as np
    import torch

    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", category=FutureWarning, module="skorch")
    clock = harness.clock(options.threads)
    names = harness.chosen(list(CONTESTANTS), options.only)
    found: dict[str, Any] = {}

    def run(name: str) -> float:
        started = clock()
        found[name] = search(name, options.epochs)
        return clock() - started

    started = time.perf_counter()
    for name in names:
        run(name)
    comparison = harness.compare(
        {name: functools.partial(run, name) for name in names},
        options.rounds,
        progress=lambda text: print(text, end="\r", file=sys.stderr),
    )
    print(f"\n{harness.table(comparison)}")
    result: dict[str, Any] = comparison.to_dict()
    for name in names:
        result[name] |= {"best": best(found[name]), "score": found[name].best_score_}
        result[name]["scores"] = scores(found[name]).tolist()
        print(f"{name:<18}best {best(found[name])}, mean score {found[name].best_score_:.4f}")
    for name in set(names) - {harness.OURS}:
        gap = float(np.abs(scores(found[name]) - scores(found[harness.OURS])).max())
        result[name]["largest_gap"] = gap
        print(f"{name:<18}largest gap of a fold {gap:.4f}")
        agree = best(found[name]) == best(found[harness.OURS])
        if not agree or gap > (ANSWERS + 0.5) / (569 / FOLDS):
            raise SystemExit(f"estimator: {name} and fitwell disagree; nothing is recorded.")
    append_record(
        options.record,
        what="grid search on breast_cancer",
        method=f"MLP 30-width-2, SGD(momentum={MOMENTUM}), width in {WIDTHS}, lr in {RATES}",
        result=result,
        seeds=[SEED],
        seconds=time.perf_counter() - started,
        clock="CPU time of the process" if options.threads == 1 else "wall time",
        rounds=options.rounds,
        threads=options.threads,
        batch_size=BATCH,
        epochs=options.epochs,
        folds=FOLDS,
        quick=options.quick,
    )


def main() -> None:
    parser = harness.arguments(__doc__, "records/estimator.jsonl")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    if options.quick:
        options.rounds = 1
    harness.set_threads(options.threads)
    measure(options)


if __name__ == "__main__":
    main()
