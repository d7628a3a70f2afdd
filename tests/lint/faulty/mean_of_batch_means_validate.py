# fault: 14 [mean-of-batch-means] the validation loss is the mean of batch means although the last batch is shorter
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def validate(model, val_loader, criterion, device):
    model.eval()
    val_loss = 0.0
    with torch.no_grad():
        for inputs, targets in val_loader:
            inputs, targets = inputs.to(device), targets.to(device)
            val_loss += criterion(model(inputs), targets).item()
    return val_loss / len(val_loader)


def train(model, train_loader, criterion, optimizer, device):
    model.train()
    for inputs, targets in train_loader:
        inputs, targets = inputs.to(device), targets.to(device)
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(1003, 3)
    y = (x**2).sum(dim=1, keepdim=True)
    train_ds, val_ds = random_split(TensorDataset(x, y), [802, 201])
    train_loader = DataLoader(train_ds, batch_size=50, shuffle=True)
    val_loader = DataLoader(val_ds, batch_size=100)
    model = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1)).to(device)
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(5):
        train(model, train_loader, criterion, optimizer, device)
        print(epoch, validate(model, val_loader, criterion, device))


if __name__ == "__main__":
    main()
