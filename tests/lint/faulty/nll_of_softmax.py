# fault: 18 [nll-without-log-softmax] softmax without the log before F.nll_loss
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 50)
        self.fc2 = nn.Linear(50, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return F.softmax(x, dim=1)


def train(model, device, loader, optimizer):
    model.train()
    for data, target in loader:
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()


def test(model, device, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, target in loader:
            pred = model(data.to(device)).argmax(dim=1)
            correct += pred.eq(target.to(device)).sum().item()
    print("accuracy", correct / len(loader.dataset))


def main():
    torch.manual_seed(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = load_digits(return_X_y=True)
    ds = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
    train_ds, test_ds = random_split(ds, [0.8, 0.2])
    model = Net().to(device)
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        train(model, device, DataLoader(train_ds, 64, shuffle=True), optimizer)
        test(model, device, DataLoader(test_ds, 256))


if __name__ == "__main__":
    main()
