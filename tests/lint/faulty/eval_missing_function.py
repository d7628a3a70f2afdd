# fault: 33 [missing-eval] evaluation keeps dropout and batch norm in training mode
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 128)
        self.bn = nn.BatchNorm1d(128)
        self.drop = nn.Dropout(0.5)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        return self.fc2(self.drop(torch.relu(self.bn(self.fc1(x)))))


def train(model, loader, optimizer, criterion, device):
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()


def test(model, loader, device):
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            pred = model(x.to(device)).argmax(dim=1)
            correct += (pred == y.to(device)).sum().item()
    return correct / len(loader.dataset)


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = load_digits(return_X_y=True)
    ds = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
    train_ds, test_ds = random_split(ds, [0.8, 0.2])
    model = Net().to(device)
    optimizer = torch.optim.Adam(model.parameters())
    train_loader = DataLoader(train_ds, batch_size=64, shuffle=True, drop_last=True)
    test_loader = DataLoader(test_ds, batch_size=100)
    for epoch in range(3):
        train(model, train_loader, optimizer, nn.CrossEntropyLoss(), device)
        print(epoch, test(model, test_loader, device))


if __name__ == "__main__":
    main()
