import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset, TensorDataset


class PairDataset(Dataset):
    """A random partner for every image: half the time of its own class."""

    def __init__(self, x, y, train, seed=0):
        self.x, self.y, self.train = x, y, train
        self.by_class = {int(c): np.flatnonzero(y == c) for c in np.unique(y)}
        rng = np.random.default_rng(seed)
        self.fixed = None if train else [self._draw(i, rng) for i in range(len(y))]

    def _draw(self, i, rng):
        same = bool(rng.random() < 0.5)
        own = int(self.y[i])
        if same:
            c = own
        else:
            c = int(rng.choice([k for k in self.by_class if k != own]))
        return int(rng.choice(self.by_class[c])), float(same)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        if self.train:
            seed = int(torch.randint(2**31, (1,)))
            j, same = self._draw(i, np.random.default_rng(seed))
        else:
            j, same = self.fixed[i]
        return self.x[i], self.x[j], torch.tensor(same)


class SiameseNetwork(nn.Module):
    def __init__(self, dim=16):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.fc = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward_once(self, x):
        return self.fc(torch.flatten(self.cnn(x), start_dim=1))

    def forward(self, a, b):
        return self.forward_once(a), self.forward_once(b)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.0):
        super().__init__()
        self.margin = margin

    def forward(self, z1, z2, same):
        d = F.pairwise_distance(z1, z2)
        pos = same * d.pow(2)
        neg = (1 - same) * F.relu(self.margin - d).pow(2)
        return 0.5 * (pos + neg).mean()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--batch-size", type=int, default=64)
    cfg = ap.parse_args()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    digits = load_digits()
    imgs = torch.tensor(digits.images / 16.0, dtype=torch.float32)[:, None]
    tr, va = train_test_split(
        np.arange(len(imgs)), test_size=0.25, random_state=0, stratify=digits.target
    )
    pairs_train = PairDataset(imgs[tr], digits.target[tr], train=True)
    pairs_valid = PairDataset(imgs[va], digits.target[va], train=False)
    dl_train = DataLoader(pairs_train, cfg.batch_size, shuffle=True)
    dl_valid = DataLoader(pairs_valid, cfg.batch_size)

    net = SiameseNetwork().to(device)
    contrastive = ContrastiveLoss(margin=1.0)
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)

    for epoch in range(cfg.epochs):
        net.train()
        loss_sum = 0.0
        for a, b, same in dl_train:
            a, b, same = a.to(device), b.to(device), same.to(device)
            opt.zero_grad()
            z1, z2 = net(a, b)
            loss = contrastive(z1, z2, same)
            loss.backward()
            opt.step()
            loss_sum += loss.item() * len(same)

        net.eval()
        val_sum, hits = 0.0, 0
        with torch.no_grad():
            for a, b, same in dl_valid:
                a, b, same = a.to(device), b.to(device), same.to(device)
                z1, z2 = net(a, b)
                val_sum += contrastive(z1, z2, same).item() * len(same)
                hits += ((F.pairwise_distance(z1, z2) < 0.5).float() == same).sum().item()
        print(f"{epoch} train {loss_sum / len(pairs_train):.4f} "
              f"valid {val_sum / len(pairs_valid):.4f} pair acc {hits / len(pairs_valid):.3f}")

    # one-nearest-neighbour accuracy in the embedding
    net.eval()
    with torch.no_grad():
        bank = net.forward_once(imgs[tr].to(device))
        hits = 0
        query = TensorDataset(imgs[va], torch.as_tensor(digits.target[va]))
        for x, y in DataLoader(query, batch_size=256):
            nearest = torch.cdist(net.forward_once(x.to(device)), bank).argmin(dim=1).cpu()
            hits += (torch.as_tensor(digits.target[tr])[nearest] == y).sum().item()
    print(f"1-nn accuracy {hits / len(va):.3f}")


if __name__ == "__main__":
    main()
