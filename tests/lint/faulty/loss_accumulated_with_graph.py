# fault: 16 [loss-accumulated-with-graph] total_loss += loss keeps every batch's graph alive for the epoch
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def train_epoch(model, train_dl, criterion, optimizer, device):
    model.train()
    total_loss = 0
    for xb, yb in train_dl:
        xb, yb = xb.to(device), yb.to(device)
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
        total_loss += loss * xb.size(0)
    return total_loss / len(train_dl.dataset)


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(1000, 10)
    train_dl = DataLoader(
        TensorDataset(x, x.norm(dim=1, keepdim=True)), batch_size=50, shuffle=True
    )
    model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 1)).to(device)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in range(3):
        print(epoch, float(train_epoch(model, train_dl, criterion, optimizer, device)))


if __name__ == "__main__":
    main()
