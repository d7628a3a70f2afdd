# fault: 39 [best-state-by-reference] best_state = model.state_dict() keeps references: it is the last state, not the best
import torch
import torch.nn as nn
from sklearn.datasets import load_diabetes
from torch.utils.data import DataLoader, TensorDataset, random_split


def evaluate(model, loader, device):
    model.eval()
    se = 0.0
    with torch.no_grad():
        for x, y in loader:
            se += (model(x.to(device)) - y.to(device)).pow(2).sum().item()
    return se / len(loader.dataset)


def main(epochs=10):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = load_diabetes(return_X_y=True)
    X = torch.tensor(X, dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32).unsqueeze(1) / 100
    train_ds, val_ds, test_ds = random_split(TensorDataset(X, y), [0.6, 0.2, 0.2])
    train_loader = DataLoader(train_ds, batch_size=16, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=64)
    test_loader = DataLoader(test_ds, batch_size=64)
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    best_loss, best_state = float("inf"), None
    for epoch in range(epochs):
        model.train()
        for xb, yb in train_loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(xb.to(device)), yb.to(device)).backward()
            optimizer.step()
        val_loss = evaluate(model, val_loader, device)
        if val_loss < best_loss:
            best_loss = val_loss
            best_state = model.state_dict()
    model.load_state_dict(best_state)
    print("best", best_loss, "again", evaluate(model, val_loader, device))
    print("test", evaluate(model, test_loader, device))


if __name__ == "__main__":
    main()
