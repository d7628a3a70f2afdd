# fault: 36 [plateau-without-metric] ReduceLROnPlateau.step() needs the metric: TypeError
import torch
import torch.nn as nn
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset


def evaluate(model, loader, device):
    model.eval()
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            total += nn.functional.l1_loss(model(x), y, reduction="sum").item()
    return total / len(loader.dataset)


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(600, 4)
    y = x.prod(dim=1, keepdim=True)
    train_loader = DataLoader(TensorDataset(x[:500], y[:500]), batch_size=50, shuffle=True)
    val_loader = DataLoader(TensorDataset(x[500:], y[500:]), batch_size=100)
    model = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    for epoch in range(5):
        model.train()
        for xb, yb in train_loader:
            xb, yb = xb.to(device), yb.to(device)
            optimizer.zero_grad()
            nn.functional.l1_loss(model(xb), yb).backward()
            optimizer.step()
        val_loss = evaluate(model, val_loader, device)
        scheduler.step()
        print(epoch, val_loss)


if __name__ == "__main__":
    main()
