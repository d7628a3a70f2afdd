# fault: 17 [functional-dropout-without-training] F.dropout without training=self.training stays active after eval()
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(64, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.dropout(x, p=0.5)
        return self.fc2(x)


def main(epochs=3):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = load_digits(return_X_y=True)
    ds = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
    train_ds, test_ds = random_split(ds, [0.8, 0.2])
    train_loader = DataLoader(train_ds, batch_size=64, shuffle=True)
    test_loader = DataLoader(test_ds, batch_size=256)
    net = Net().to(device)
    opt = torch.optim.Adam(net.parameters())
    for epoch in range(epochs):
        net.train()
        for xb, yb in train_loader:
            xb, yb = xb.to(device), yb.to(device)
            opt.zero_grad()
            F.cross_entropy(net(xb), yb).backward()
            opt.step()
        net.eval()
        hits = 0
        with torch.no_grad():
            for xb, yb in test_loader:
                hits += net(xb.to(device)).argmax(1).eq(yb.to(device)).sum().item()
        print(epoch, hits / len(test_ds))


if __name__ == "__main__":
    main()
