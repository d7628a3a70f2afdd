import argparse
import math

import torch
import torch.nn as nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, LambdaLR, OneCycleLR, SequentialLR
from torch.utils.data import DataLoader, TensorDataset


def spiral(n, turns=1.5, noise=0.1, seed=0):
    g = torch.Generator().manual_seed(seed)
    t = torch.rand(n, generator=g).sqrt() * turns * 2 * math.pi
    y = torch.randint(2, (n,), generator=g)
    sign = 1 - 2 * y.float()
    x = torch.stack([sign * t * t.cos(), sign * t * t.sin()], dim=1) / (turns * 2 * math.pi)
    return TensorDataset(x + noise * torch.randn(n, 2, generator=g) / 3, y)


def build_scheduler(name, optimizer, args, steps_per_epoch):
    """Returns (scheduler, per_batch)."""
    if name == "onecycle":
        return (
            OneCycleLR(
                optimizer, max_lr=args.lr, epochs=args.epochs, steps_per_epoch=steps_per_epoch
            ),
            True,
        )
    if name == "warmup_cosine":
        warmup = LambdaLR(optimizer, lambda e: (e + 1) / 3)
        cosine = CosineAnnealingWarmRestarts(optimizer, T_0=max(1, args.epochs - 3))
        return SequentialLR(optimizer, [warmup, cosine], milestones=[3]), False
    if name == "poly":
        total = args.epochs * steps_per_epoch
        return LambdaLR(optimizer, lambda s: (1 - s / (total + 1)) ** 0.9), True
    raise ValueError(name)


def train(args, name, train_loader, valid_loader, device):
    torch.manual_seed(args.seed)
    model = nn.Sequential(
        nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2)
    ).to(device)
    optimizer = SGD(model.parameters(), lr=args.lr, momentum=0.9)
    scheduler, per_batch = build_scheduler(name, optimizer, args, len(train_loader))
    criterion = nn.CrossEntropyLoss()
    lrs = []

    for _ in range(args.epochs):
        model.train()
        for inputs, target in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(inputs.to(device)), target.to(device))
            loss.backward()
            optimizer.step()
            lrs.append(optimizer.param_groups[0]["lr"])
            if per_batch:
                scheduler.step()
        if not per_batch:
            scheduler.step()

    model.eval()
    correct = 0
    with torch.no_grad():
        for inputs, target in valid_loader:
            correct += (model(inputs.to(device)).argmax(dim=1) == target.to(device)).sum().item()
    return correct / len(valid_loader.dataset), lrs


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=20)
    p.add_argument("--lr", type=float, default=0.2)
    p.add_argument("--n", type=int, default=2000)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    train_loader = DataLoader(
        spiral(args.n), batch_size=50, shuffle=True,
        generator=torch.Generator().manual_seed(args.seed),
    )
    valid_loader = DataLoader(spiral(args.n // 2, seed=1), batch_size=500)
    for name in ("onecycle", "warmup_cosine", "poly"):
        train_loader.generator.manual_seed(args.seed)
        acc, lrs = train(args, name, train_loader, valid_loader, device)
        print(f"{name:14s} acc {acc:.3f} lr {lrs[0]:.4f} -> max {max(lrs):.4f} -> {lrs[-1]:.5f}")


if __name__ == "__main__":
    main()
