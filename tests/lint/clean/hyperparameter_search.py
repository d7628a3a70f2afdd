from __future__ import annotations

import argparse
import itertools
import json
import random
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

SPACE: dict[str, list[Any]] = {
    "lr": [1e-3, 1e-2],
    "hidden": [16, 64],
    "dropout": [0.0, 0.3],
}


class Split(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


def set_seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.cuda.manual_seed_all(seed)


def load(device: torch.device) -> tuple[Split, Split, Split]:
    X, y = load_wine(return_X_y=True)
    X_tv, X_te, y_tv, y_te = train_test_split(X, y, test_size=0.25, random_state=0, stratify=y)
    X_tr, X_va, y_tr, y_va = train_test_split(
        X_tv, y_tv, test_size=0.25, random_state=0, stratify=y_tv
    )
    prep = make_pipeline(QuantileTransformer(n_quantiles=50), StandardScaler())
    prep.fit(X_tr)

    def tensors(X_, y_):
        x = torch.as_tensor(prep.transform(X_), dtype=torch.float32, device=device)
        return Split(x, torch.as_tensor(y_, dtype=torch.long, device=device))

    return tensors(X_tr, y_tr), tensors(X_va, y_va), tensors(X_te, y_te)


def build(n_in: int, n_out: int, hp: dict[str, Any]) -> nn.Module:
    return nn.Sequential(
        nn.Linear(n_in, hp["hidden"]),
        nn.ReLU(),
        nn.Dropout(hp["dropout"]),
        nn.Linear(hp["hidden"], n_out),
    )


def train_once(hp, train: Split, seed: int, epochs: int, batch_size: int = 32) -> nn.Module:
    set_seed(seed)
    net = build(train.x.shape[1], 3, hp).to(train.x.device)
    opt = torch.optim.Adam(net.parameters(), lr=hp["lr"])
    loss_fn = nn.CrossEntropyLoss()
    net.train()
    for _ in range(epochs):
        perm = torch.randperm(len(train.x), device=train.x.device)
        for i in range(0, len(perm), batch_size):
            idx = perm[i : i + batch_size]
            opt.zero_grad(set_to_none=True)
            loss_fn(net(train.x[idx]), train.y[idx]).backward()
            opt.step()
    return net


@torch.inference_mode()
def score(net: nn.Module, data: Split) -> float:
    net.eval()
    return (net(data.x).argmax(-1) == data.y).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    ns = parser.parse_args()

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train, valid, test = load(device)
    results = []
    for values in itertools.product(*SPACE.values()):
        hp = dict(zip(SPACE, values))
        scores = [
            score(train_once(hp, train, seed, ns.epochs), valid) for seed in range(ns.seeds)
        ]
        results.append({**hp, "mean": float(np.mean(scores)), "std": float(np.std(scores))})
        print(json.dumps(results[-1]))

    best = max(results, key=lambda r: r["mean"])
    print("best on validation:", best)
    hp = {k: best[k] for k in SPACE}
    finals = [score(train_once(hp, train, s, ns.epochs), test) for s in range(ns.seeds)]
    print(f"test accuracy {np.mean(finals):.3f} +- {np.std(finals):.3f}")


if __name__ == "__main__":
    main()
