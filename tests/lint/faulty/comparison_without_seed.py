# fault: 34 [seed-missing] optimizers are compared from different random weights and orders: no seed anywhere
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def run(optimizer_class, lr, train_ds, val_ds, device, epochs=2):
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).to(device)
    optimizer = optimizer_class(model.parameters(), lr=lr)
    loader = DataLoader(train_ds, batch_size=64, shuffle=True)
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x.to(device)), y.to(device)).backward()
            optimizer.step()
    model.eval()
    hits = 0
    with torch.no_grad():
        for x, y in DataLoader(val_ds, batch_size=256):
            hits += (model(x.to(device)).argmax(dim=1) == y.to(device)).sum().item()
    return hits / len(val_ds)


def main():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.25, random_state=0)
    train_ds, val_ds = TensorDataset(X_tr, y_tr), TensorDataset(X_va, y_va)
    results = {}
    for name, cls, lr in [("sgd", torch.optim.SGD, 0.1), ("adam", torch.optim.Adam, 1e-3)]:
        results[name] = run(cls, lr, train_ds, val_ds, device)
    best = max(results, key=results.get)
    print(results, "best:", best)


if __name__ == "__main__":
    main()
