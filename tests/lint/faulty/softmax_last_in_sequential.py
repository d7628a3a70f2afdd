# fault: 16 [softmax-before-cross-entropy] nn.Softmax ends the model whose output goes to F.cross_entropy
import argparse

import torch as th
import torch.nn.functional as F
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from torch import nn


def build(hidden):
    return nn.Sequential(
        nn.Linear(4, hidden),
        nn.Tanh(),
        nn.Linear(hidden, 3),
        nn.Softmax(dim=1),
    )


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=20)
    args = ap.parse_args()
    th.manual_seed(0)
    X, y = load_iris(return_X_y=True)
    X_tr, X_te, y_tr, y_te = train_test_split(X, y, random_state=0, stratify=y)
    X_tr, X_te = (th.tensor(a, dtype=th.float32) for a in (X_tr, X_te))
    y_tr, y_te = th.tensor(y_tr), th.tensor(y_te)

    net = build(16)
    opt = th.optim.Adam(net.parameters(), lr=1e-2)
    for epoch in range(args.epochs):
        net.train()
        for idx in th.randperm(len(X_tr)).split(16):
            opt.zero_grad()
            loss = F.cross_entropy(net(X_tr[idx]), y_tr[idx])
            loss.backward()
            opt.step()

    net.eval()
    with th.no_grad():
        acc = (net(X_te).argmax(dim=1) == y_te).float().mean().item()
    print(f"test accuracy {acc:.3f}")


if __name__ == "__main__":
    main()
