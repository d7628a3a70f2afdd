import argparse
import random

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler, get_worker_info


def seed_worker(worker_id):
    worker_seed = torch.initial_seed() % 2**32
    np.random.seed(worker_seed)
    random.seed(worker_seed)


class Signals(Dataset):
    """Sine waves of two frequencies, jittered with numpy when training."""

    def __init__(self, n, train, length=64, imbalance=0.2, seed=0):
        rng = np.random.default_rng(seed)
        self.labels = (rng.random(n) < imbalance).astype(np.int64)
        self.phases = rng.uniform(0, 2 * np.pi, n)
        self.t = np.linspace(0, 4 * np.pi, length)
        self.train = train

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        wave = np.sin((1 + self.labels[i]) * self.t + self.phases[i])
        if self.train:
            wave = wave * np.random.uniform(0.8, 1.2) + np.random.normal(0, 0.1, wave.shape)
        return torch.from_numpy(wave.astype(np.float32))[None], int(self.labels[i])


class Stream(IterableDataset):
    """Every worker reads its own part of the range."""

    def __init__(self, n):
        self.n = n

    def __iter__(self):
        info = get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        for i in range(start, self.n, step):
            g = torch.Generator().manual_seed(i)
            yield torch.randn(1, 64, generator=g)


def make_loaders(args):
    g = torch.Generator()
    g.manual_seed(args.seed)
    train_ds = Signals(args.n, train=True, seed=1)
    val_ds = Signals(args.n // 4, train=False, seed=2)
    freq = np.bincount(train_ds.labels, minlength=2)
    weights = torch.as_tensor(1.0 / np.maximum(freq, 1)[train_ds.labels])
    sampler = WeightedRandomSampler(weights, num_samples=len(train_ds), generator=g)
    common = dict(
        num_workers=args.workers,
        worker_init_fn=seed_worker,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=args.workers > 0,
    )
    train = DataLoader(train_ds, args.batch_size, sampler=sampler, generator=g, **common)
    val = DataLoader(val_ds, args.batch_size * 2, shuffle=False, **common)
    return train, val


class ConvNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv1d(1, 16, 7, padding=3)
        self.c2 = nn.Conv1d(16, 32, 5, padding=2)
        self.fc = nn.Linear(32, 2)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.c1(x)), 2)
        x = F.dropout(F.relu(self.c2(x)), 0.2, self.training)
        return self.fc(x.mean(dim=-1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    train_loader, val_loader = make_loaders(args)
    net = ConvNet().to(device)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    for epoch in range(args.epochs):
        net.train()
        for x, y in train_loader:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()

        net.eval()
        per_class = torch.zeros(2, 2)
        with torch.no_grad():
            for x, y in val_loader:
                pred = net(x.to(device)).argmax(dim=1).cpu()
                for c in (0, 1):
                    per_class[c, 0] += ((pred == c) & (y == c)).sum()
                    per_class[c, 1] += (y == c).sum()
        recall = per_class[:, 0] / per_class[:, 1].clamp(min=1)
        print(f"epoch {epoch} last loss {loss.item():.4f} recall {recall.tolist()}")

    stream = DataLoader(Stream(100), batch_size=10, num_workers=args.workers)
    net.eval()
    with torch.no_grad():
        positive = sum((net(x.to(device)).argmax(1) == 1).sum().item() for x in stream)
    print("positives in the stream:", positive)


if __name__ == "__main__":
    main()
