import argparse
from collections import defaultdict

import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, Dataset


class FacesLike(Dataset):
    """Features with an age (regression), a mood (4 classes) and glasses (yes or no)."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        w = torch.randn(24, 6, generator=torch.Generator().manual_seed(7))
        self.x = torch.randn(n, 24, generator=g)
        z = self.x @ w
        self.age = z[:, 0] + 0.1 * torch.randn(n, generator=g)
        self.mood = z[:, 1:5].argmax(dim=1)
        self.glasses = (z[:, 5] > 0).float()

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return {
            "x": self.x[i], "age": self.age[i], "mood": self.mood[i], "glasses": self.glasses[i]
        }


class MultiTaskNet(nn.Module):
    def __init__(self, d_in=24, d=64):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(d_in, d), nn.ReLU(), nn.Linear(d, d), nn.ReLU())
        self.heads = nn.ModuleDict({
            "age": nn.Linear(d, 1), "mood": nn.Linear(d, 4), "glasses": nn.Linear(d, 1)
        })

    def forward(self, x):
        h = self.trunk(x)
        out = {name: head(h) for name, head in self.heads.items()}
        out["age"] = out["age"].squeeze(-1)
        out["glasses"] = out["glasses"].squeeze(-1)
        return out


class UncertaintyWeighting(nn.Module):
    """One learned log variance per task."""

    def __init__(self, tasks):
        super().__init__()
        self.log_var = nn.ParameterDict({t: nn.Parameter(torch.zeros(())) for t in tasks})

    def forward(self, losses):
        total = 0.0
        for t, loss in losses.items():
            total = total + torch.exp(-self.log_var[t]) * loss + 0.5 * self.log_var[t]
        return total


criteria = {
    "age": nn.MSELoss(),
    "mood": nn.CrossEntropyLoss(),
    "glasses": nn.BCEWithLogitsLoss(),
}


def step(model, batch, device):
    batch = {k: v.to(device) for k, v in batch.items()}
    out = model(batch["x"])
    return out, batch, {t: criteria[t](out[t], batch[t]) for t in criteria}


def train_epoch(model, weighting, loader, optimizer, device):
    model.train()
    weighting.train()
    sums, n = defaultdict(float), 0
    for batch in loader:
        _, batch, losses = step(model, batch, device)
        loss = weighting(losses)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        b = len(batch["x"])
        n += b
        for t, v in losses.items():
            sums[t] += v.item() * b
    return {t: s / n for t, s in sums.items()}


@torch.no_grad()
def evaluate(model, loader, device):
    model.eval()
    sq, mood, glasses, n = 0.0, 0, 0, 0
    for batch in loader:
        out, batch, _ = step(model, batch, device)
        sq += (out["age"] - batch["age"]).pow(2).sum().item()
        mood += (out["mood"].argmax(dim=1) == batch["mood"]).sum().item()
        glasses += ((out["glasses"] > 0).float() == batch["glasses"]).sum().item()
        n += len(batch["x"])
    return {"age rmse": (sq / n) ** 0.5, "mood acc": mood / n, "glasses acc": glasses / n}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--n", type=int, default=4096)
    args = ap.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = DataLoader(FacesLike(args.n, 1), batch_size=128, shuffle=True)
    val = DataLoader(FacesLike(args.n // 4, 2), batch_size=512)
    model = MultiTaskNet().to(device)
    weighting = UncertaintyWeighting(criteria).to(device)
    optimizer = optim.Adam([*model.parameters(), *weighting.parameters()], lr=2e-3)
    for epoch in range(args.epochs):
        train = train_epoch(model, weighting, loader, optimizer, device)
        scores = evaluate(model, val, device)
        print(epoch, {k: round(v, 3) for k, v in (train | scores).items()})


if __name__ == "__main__":
    main()
