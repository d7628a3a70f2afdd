# fault: 36 [scaler-fitted-on-test] the scaler is fitted again on the test part instead of transform
import numpy as np
import torch
from sklearn.preprocessing import MinMaxScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def windows(series, lookback):
    xs = np.stack([series[i : i + lookback] for i in range(len(series) - lookback)])
    return TensorDataset(
        torch.tensor(xs, dtype=torch.float32),
        torch.tensor(series[lookback:, 0], dtype=torch.float32),
    )


class Forecaster(nn.Module):
    def __init__(self, hidden=16):
        super().__init__()
        self.rnn = nn.GRU(1, hidden, batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        h, _ = self.rnn(x)
        return self.out(h[:, -1]).squeeze(-1)


def main(epochs=3, lookback=12):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    t = np.arange(600)
    series = (np.sin(t / 8) + 0.01 * t).reshape(-1, 1)
    train, test = series[:500], series[500:]
    scaler = MinMaxScaler()
    train = scaler.fit_transform(train)
    test = scaler.fit_transform(test)

    train_dl = DataLoader(windows(train, lookback), batch_size=32, shuffle=True)
    test_dl = DataLoader(windows(test, lookback), batch_size=64)
    model = Forecaster().to(device)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(epochs):
        model.train()
        for xb, yb in train_dl:
            opt.zero_grad()
            nn.functional.mse_loss(model(xb.to(device)), yb.to(device)).backward()
            opt.step()
    model.eval()
    se = 0.0
    with torch.no_grad():
        for xb, yb in test_dl:
            se += (model(xb.to(device)) - yb.to(device)).pow(2).sum().item()
    print("test mse", se / len(test_dl.dataset))


if __name__ == "__main__":
    main()
