import argparse

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def make_net(d):
    return nn.Sequential(
        nn.Linear(d, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1)
    )


def to_dataset(X, y):
    return TensorDataset(
        torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y, dtype=torch.float32)
    )


def fit(X, y, *, epochs, lr, batch_size, device, seed):
    torch.manual_seed(seed)
    net = make_net(X.shape[1]).to(device)
    opt = torch.optim.Adam(net.parameters(), lr=lr)
    loss_fn = nn.BCEWithLogitsLoss()
    loader = DataLoader(to_dataset(X, y), batch_size=batch_size, shuffle=True)
    net.train()
    for _ in range(epochs):
        for xb, yb in loader:
            xb, yb = xb.to(device), yb.to(device)
            opt.zero_grad()
            loss_fn(net(xb).squeeze(1), yb).backward()
            opt.step()
    return net


@torch.no_grad()
def predict_proba(net, X, device):
    net.eval()
    logits = net(torch.as_tensor(X, dtype=torch.float32, device=device)).squeeze(1)
    return torch.sigmoid(logits).cpu().numpy()


def cross_validate(X, y, n_splits, seed, **kw):
    scores = []
    folds = StratifiedKFold(n_splits=n_splits, shuffle=True, random_state=seed)
    for fold, (tr, va) in enumerate(folds.split(X, y)):
        scaler = StandardScaler().fit(X[tr])
        net = fit(scaler.transform(X[tr]), y[tr], seed=seed, **kw)
        p = predict_proba(net, scaler.transform(X[va]), kw["device"])
        auc, acc = roc_auc_score(y[va], p), accuracy_score(y[va], p > 0.5)
        print(f"  fold {fold}: auc {auc:.4f} acc {acc:.4f}")
        scores.append(auc)
    return np.mean(scores), np.std(scores)


def main(argv=None):
    ap = argparse.ArgumentParser()
    ap.add_argument("--folds", type=int, default=5)
    ap.add_argument("--epochs", type=int, default=30)
    ap.add_argument("--lrs", type=float, nargs="+", default=[1e-2, 1e-3])
    args = ap.parse_args(argv)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = load_breast_cancer(return_X_y=True)
    X_dev, X_test, y_dev, y_test = train_test_split(
        X, y, test_size=0.2, stratify=y, random_state=13
    )

    best = None
    for lr in args.lrs:
        mean, std = cross_validate(
            X_dev, y_dev, args.folds, seed=13,
            epochs=args.epochs, lr=lr, batch_size=32, device=device,
        )
        print(f"lr {lr:g}: auc {mean:.4f} +- {std:.4f}")
        if best is None or mean > best[0]:
            best = (mean, lr)

    # refit on all development data with the chosen rate, one look at the test set
    scaler = StandardScaler().fit(X_dev)
    net = fit(
        scaler.transform(X_dev), y_dev,
        epochs=args.epochs, lr=best[1], batch_size=32, device=device, seed=13,
    )
    p = predict_proba(net, scaler.transform(X_test), device)
    print(f"test auc {roc_auc_score(y_test, p):.4f} (lr {best[1]:g})")


if __name__ == "__main__":
    main()
