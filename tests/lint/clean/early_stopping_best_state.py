import copy
import os
import tempfile

import torch
import torch.nn as nn
from sklearn.datasets import fetch_california_housing, load_diabetes
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


class EarlyStopping:
    """Stop when the validation loss has not improved for `patience` epochs."""

    def __init__(self, patience=7, min_delta=0.0):
        self.patience = patience
        self.min_delta = min_delta
        self.best = None
        self.bad_epochs = 0
        self.state = None

    def __call__(self, val_loss, model):
        if self.best is None or val_loss < self.best - self.min_delta:
            self.best = val_loss
            self.bad_epochs = 0
            self.state = copy.deepcopy(model.state_dict())
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience

    def restore(self, model):
        model.load_state_dict(self.state)


class Standardize(nn.Module):
    """Constants of the training set, kept with the model."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x):
        return (x - self.mean) / self.std


def get_data(large):
    bunch = fetch_california_housing() if large else load_diabetes()
    X = torch.tensor(bunch.data, dtype=torch.float32)
    y = torch.tensor(bunch.target, dtype=torch.float32).unsqueeze(1)
    X_train, X_tmp, y_train, y_tmp = train_test_split(X, y, test_size=0.4, random_state=0)
    X_val, X_test, y_val, y_test = train_test_split(X_tmp, y_tmp, test_size=0.5, random_state=0)
    return (X_train, y_train), (X_val, y_val), (X_test, y_test)


def mse(model, loader, device):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for xb, yb in loader:
            xb, yb = xb.to(device), yb.to(device)
            total += nn.functional.mse_loss(model(xb), yb, reduction="sum").item()
    return total / len(loader.dataset)


def main(max_epochs=200, patience=10, batch_size=32, large=False):
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, val, test = get_data(large)
    mean, std = train[0].mean(dim=0), train[0].std(dim=0)
    y_mean, y_std = train[1].mean(), train[1].std()
    train, val, test = [(X, (y - y_mean) / y_std) for X, y in (train, val, test)]

    train_dl = DataLoader(TensorDataset(*train), batch_size=batch_size, shuffle=True)
    val_dl = DataLoader(TensorDataset(*val), batch_size=256)
    test_dl = DataLoader(TensorDataset(*test), batch_size=256)

    model = nn.Sequential(
        Standardize(mean, std),
        nn.Linear(train[0].shape[1], 64),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(64, 1),
    ).to(device)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    stopper = EarlyStopping(patience)

    for epoch in range(max_epochs):
        model.train()
        for xb, yb in train_dl:
            xb, yb = xb.to(device), yb.to(device)
            opt.zero_grad()
            loss = nn.functional.mse_loss(model(xb), yb)
            loss.backward()
            opt.step()
        val_loss = mse(model, val_dl, device)
        if epoch % 10 == 0:
            print(f"epoch {epoch} val {val_loss:.4f}")
        if stopper(val_loss, model):
            print(f"stopped after epoch {epoch}, best {stopper.best:.4f}")
            break

    stopper.restore(model)
    print(f"test mse {mse(model, test_dl, device) * y_std.item() ** 2:.1f}")

    path = os.path.join(tempfile.gettempdir(), "regressor.pt")
    torch.save({"model": model.state_dict(), "y_mean": y_mean, "y_std": y_std}, path)
    again = torch.load(path, weights_only=True, map_location=device)
    model.load_state_dict(again["model"])


if __name__ == "__main__":
    main()
