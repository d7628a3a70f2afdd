import sys

import numpy as np
import pandas as pd
import torch
import torch.nn as nn
from sklearn.compose import ColumnTransformer
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from torch.utils.data import DataLoader, Dataset

CATEGORICAL = ["neighbourhood", "heating"]
NUMERIC = ["area", "rooms", "age"]


def make_frame(n, seed):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({
        "area": rng.gamma(9.0, 12.0, n),
        "rooms": rng.integers(1, 7, n),
        "age": rng.uniform(0, 100, n),
        "neighbourhood": rng.choice(list("ABCD"), n),
        "heating": rng.choice(["gas", "heat pump", "oil"], n),
    })
    base = df.neighbourhood.map({"A": 5.0, "B": 3.0, "C": 2.5, "D": 1.5})
    df["price"] = df.area * base + 20 * df.rooms - 1.2 * df.age + rng.normal(0, 20, n)
    return df


class FrameDataset(Dataset):
    def __init__(self, features, target):
        self.X = torch.tensor(np.asarray(features), dtype=torch.float32)
        self.y = torch.tensor(np.asarray(target), dtype=torch.float32).unsqueeze(1)

    def __len__(self):
        return self.X.shape[0]

    def __getitem__(self, idx):
        return self.X[idx], self.y[idx]


class Regressor(nn.Module):
    def __init__(self, n_features):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_features, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1)
        )

    def forward(self, x):
        return self.layers(x)


def predict(model, loader, device):
    model.eval()
    outs = []
    with torch.no_grad():
        for X, _ in loader:
            outs.append(model(X.to(device)).cpu())
    return torch.cat(outs).squeeze(1).numpy()


def main(n=3000, epochs=30, batch_size=64, seed=0):
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    df = make_frame(n, seed)
    train_df, test_df = train_test_split(df, test_size=0.2, random_state=seed)
    train_df, val_df = train_test_split(train_df, test_size=0.2, random_state=seed)

    encode = ColumnTransformer([
        ("num", StandardScaler(), NUMERIC),
        ("cat", OneHotEncoder(sparse_output=False, handle_unknown="ignore"), CATEGORICAL),
    ])
    X_train = encode.fit_transform(train_df)
    X_val, X_test = encode.transform(val_df), encode.transform(test_df)

    y_scaler = StandardScaler()
    y_train = y_scaler.fit_transform(train_df[["price"]]).ravel()
    y_val = y_scaler.transform(val_df[["price"]]).ravel()
    y_test = test_df["price"].to_numpy()

    train_dl = DataLoader(FrameDataset(X_train, y_train), batch_size=batch_size, shuffle=True)
    val_dl = DataLoader(FrameDataset(X_val, y_val), batch_size=256)
    test_dl = DataLoader(FrameDataset(X_test, y_test), batch_size=256)

    model = Regressor(X_train.shape[1]).to(device)
    huber = nn.HuberLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.95)

    for epoch in range(epochs):
        model.train()
        sum_loss = 0.0
        for X, y in train_dl:
            X, y = X.to(device), y.to(device)
            pred = model(X)
            loss = huber(pred, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sum_loss += loss.item() * len(X)
        scheduler.step()

        val_pred = predict(model, val_dl, device)
        val_mae = mean_absolute_error(y_val, val_pred) * y_scaler.scale_[0]
        print(f"epoch {epoch:2d} loss {sum_loss / len(X_train):.4f} val MAE {val_mae:.1f}")

    pred = y_scaler.inverse_transform(predict(model, test_dl, device).reshape(-1, 1)).ravel()
    print(f"test MAE {mean_absolute_error(y_test, pred):.1f} R2 {r2_score(y_test, pred):.3f}")
    torch.save(model.state_dict(), "/tmp/prices.pt")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
