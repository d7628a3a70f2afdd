# fault: 8 [train-never-restored] model.train() stands before the epoch loop; after the first evaluation dropout stays off
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def accuracy(model, loader, device):
    model.eval()
    hits = 0
    with torch.no_grad():
        for x, y in loader:
            hits += (model(x.to(device)).argmax(dim=1) == y.to(device)).sum().item()
    return hits / len(loader.dataset)


def main(epochs=4):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(900, 15)
    y = (x[:, :3].sum(dim=1) > 0).long()
    train_loader = DataLoader(TensorDataset(x[:700], y[:700]), batch_size=50, shuffle=True)
    valid_loader = DataLoader(TensorDataset(x[700:], y[700:]), batch_size=100)
    model = nn.Sequential(
        nn.Linear(15, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2)
    ).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())

    model.train()
    for epoch in range(epochs):
        for xb, yb in train_loader:
            xb, yb = xb.to(device), yb.to(device)
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)
            loss.backward()
            optimizer.step()
        print(epoch, accuracy(model, valid_loader, device))


if __name__ == "__main__":
    main()
