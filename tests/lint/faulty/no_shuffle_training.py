# fault: 25 [training-loader-not-shuffled] the training loader does not shuffle and the rows are sorted by class
import torch
import torch.nn as nn
from sklearn.datasets import load_iris
from torch.utils.data import DataLoader, Dataset


class Iris(Dataset):
    def __init__(self, train):
        X, y = load_iris(return_X_y=True)
        keep = [i for i in range(len(y)) if (i % 5 != 0) == train]
        self.X = torch.tensor(X[keep], dtype=torch.float32)
        self.y = torch.tensor(y[keep])

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


def main(epochs=20):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader = DataLoader(Iris(train=True), batch_size=8)
    test_loader = DataLoader(Iris(train=False), batch_size=30)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        hits = sum((model(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in test_loader)
    print("accuracy", hits / len(test_loader.dataset))


if __name__ == "__main__":
    main()
