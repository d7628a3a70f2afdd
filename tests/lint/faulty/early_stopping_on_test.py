# fault: 52 [test-set-in-selection] early stopping watches the test loss
import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.best, self.count = patience, float("inf"), 0

    def step(self, loss):
        if loss < self.best:
            self.best, self.count = loss, 0
        else:
            self.count += 1
        return self.count >= self.patience


def loss_on(model, loader, device):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += nn.functional.mse_loss(
                model(x.to(device)), y.to(device), reduction="sum"
            ).item()
    return total / len(loader.dataset)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=30)
    args = ap.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(800, 5)
    y = x.sin().sum(dim=1, keepdim=True)
    train_loader = DataLoader(TensorDataset(x[:600], y[:600]), 50, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[600:], y[600:]), 100)
    model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    stopper = EarlyStopping(patience=3)
    for epoch in range(args.epochs):
        model.train()
        for xb, yb in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(xb.to(device)), yb.to(device)).backward()
            optimizer.step()
        test_loss = loss_on(model, test_loader, device)
        if stopper.step(test_loss):
            break
    print("stopped at", epoch, "test loss", test_loss)


if __name__ == "__main__":
    main()
