import argparse

import numpy as np
import torch
import torch.nn as nn
from sklearn.preprocessing import MinMaxScaler
from torch.utils.data import DataLoader, Dataset


def airline_like(n, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    series = 100 + 0.3 * t + 20 * np.sin(2 * np.pi * t / 24) + 8 * np.cos(2 * np.pi * t / 168)
    return (series + rng.normal(0, 3, n)).astype(np.float32).reshape(-1, 1)


class Windows(Dataset):
    def __init__(self, values, lookback, horizon):
        self.values = torch.from_numpy(values)
        self.lookback, self.horizon = lookback, horizon

    def __len__(self):
        return len(self.values) - self.lookback - self.horizon + 1

    def __getitem__(self, i):
        j = i + self.lookback
        return self.values[i:j], self.values[j : j + self.horizon, 0]


class Forecaster(nn.Module):
    def __init__(self, hidden=48, horizon=12, layers=2):
        super().__init__()
        self.lstm = nn.LSTM(
            input_size=1, hidden_size=hidden, num_layers=layers, batch_first=True, dropout=0.1
        )
        self.linear = nn.Linear(hidden, horizon)

    def forward(self, x):
        out, _ = self.lstm(x)
        # relative to the last value seen
        return x[:, -1] + self.linear(out[:, -1])


def fit(model, loader, optimizer, loss_fn, device):
    model.train()
    total = 0.0
    for window, future in loader:
        window, future = window.to(device), future.to(device)
        optimizer.zero_grad()
        loss = loss_fn(model(window), future)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * window.shape[0]
    return total / len(loader.dataset)


@torch.no_grad()
def forecast(model, loader, device):
    model.eval()
    pred, true = [], []
    for window, future in loader:
        pred.append(model(window.to(device)).cpu().numpy())
        true.append(future.numpy())
    return np.concatenate(pred), np.concatenate(true)


def rmse_in_units(scaler, pred, true):
    scale = scaler.data_range_[0]
    return float(np.sqrt(np.mean((pred - true) ** 2)) * scale)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--lookback", type=int, default=48)
    parser.add_argument("--horizon", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=15)
    args = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    series = airline_like(args.n)
    n_train, n_val = int(0.7 * len(series)), int(0.15 * len(series))
    train, val, test = np.split(series, [n_train, n_train + n_val])

    scaler = MinMaxScaler(feature_range=(0, 1))
    train = scaler.fit_transform(train)
    val, test = scaler.transform(val), scaler.transform(test)

    # windows are independent samples, so the training ones may be shuffled
    make = lambda v: Windows(v.astype(np.float32), args.lookback, args.horizon)  # noqa: E731
    train_loader = DataLoader(make(train), batch_size=64, shuffle=True)
    val_loader = DataLoader(make(val), batch_size=256)
    test_loader = DataLoader(make(test), batch_size=256)

    model = Forecaster(horizon=args.horizon).to(device)
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3, factor=0.3)

    for epoch in range(1, args.epochs + 1):
        train_mse = fit(model, train_loader, optimizer, loss_fn, device)
        val_rmse = rmse_in_units(scaler, *forecast(model, val_loader, device))
        plateau.step(val_rmse)
        print(f"Epoch {epoch}: train MSE {train_mse:.5f}, val RMSE {val_rmse:.2f}")

    print(f"test RMSE {rmse_in_units(scaler, *forecast(model, test_loader, device)):.2f}")
    last = torch.from_numpy(test[-args.lookback :].astype(np.float32)).unsqueeze(0).to(device)
    model.eval()
    with torch.no_grad():
        future = model(last).cpu().numpy().reshape(-1, 1)
    print("next:", scaler.inverse_transform(future).ravel().round(1).tolist())


if __name__ == "__main__":
    main()
