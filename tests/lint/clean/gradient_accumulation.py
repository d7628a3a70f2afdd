import argparse
import itertools

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def synthetic(n, d, rng):
    X = rng.normal(size=(n, d)).astype("float32")
    logits = X[:, 0] * X[:, 1] + 0.5 * X[:, 2]
    y = (logits > 0).astype("int64")
    return TensorDataset(torch.from_numpy(X), torch.from_numpy(y))


def chunked(iterable, n):
    it = iter(iterable)
    while chunk := list(itertools.islice(it, n)):
        yield chunk


def train(model, loader, loss_fn, optimizer, accum, device):
    """Every optimizer step sees `accum` micro batches; the last group may be shorter."""
    model.train()
    total_loss, total_n = 0.0, 0
    for group in chunked(loader, accum):
        group_size = sum(len(y) for _, y in group)
        optimizer.zero_grad()
        for x, y in group:
            x, y = x.to(device), y.to(device)
            loss = loss_fn(model(x), y) * len(y) / group_size
            loss.backward()
            total_loss += loss.item() * group_size
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total_n += group_size
    return total_loss / total_n


def train_simple(model, loader, loss_fn, optimizer, accum, device):
    """The textbook form: divide by accum, step every accum batches and at the end."""
    model.train()
    optimizer.zero_grad()
    for i, (x, y) in enumerate(loader):
        x, y = x.to(device), y.to(device)
        loss = loss_fn(model(x), y) / accum
        loss.backward()
        if (i + 1) % accum == 0 or (i + 1) == len(loader):
            optimizer.step()
            optimizer.zero_grad()


def evaluate(model, loader, device):
    was_training = model.training
    model.eval()
    hits, n = 0, 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x.to(device)).argmax(1) == y.to(device)).sum().item()
            n += len(y)
    model.train(was_training)
    return hits / n


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--micro-batch", type=int, default=16)
    parser.add_argument("--accum", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--n", type=int, default=4000)
    parser.add_argument("--simple", action="store_true")
    opts = parser.parse_args()

    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    dev = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    dl_train = DataLoader(synthetic(opts.n, 10, rng), opts.micro_batch, shuffle=True)
    dl_valid = DataLoader(synthetic(opts.n // 4, 10, rng), 256)

    net = nn.Sequential(nn.Linear(10, 64), nn.GELU(), nn.Linear(64, 2)).to(dev)
    objective = nn.CrossEntropyLoss()
    optim = torch.optim.Adam(net.parameters(), 1e-2)
    step = train_simple if opts.simple else train

    for ep in range(opts.epochs):
        loss = step(net, dl_train, objective, optim, opts.accum, dev)
        acc = evaluate(net, dl_valid, dev)
        print(ep, loss, f"{acc:.3f}")


if __name__ == "__main__":
    main()
