# fault: 11 [softmax-without-dim] nn.Softmax() without dim: for (T, B, C) input the implicit dim is 0
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class AttentionPool(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.score = nn.Linear(d, d)
        self.softmax = nn.Softmax()

    def forward(self, x):
        weights = self.softmax(self.score(x))
        return (weights * x).sum(dim=1)


class Model(nn.Module):
    def __init__(self, d, k):
        super().__init__()
        self.pool = AttentionPool(d)
        self.out = nn.Linear(d, k)

    def forward(self, x):
        return self.out(self.pool(x))


def main():
    torch.manual_seed(0)
    x = torch.randn(256, 6, 8)
    y = x.mean(dim=1).argmax(dim=1)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = Model(8, 8)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for epoch in range(3):
        for xb, yb in loader:
            opt.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            opt.step()
        print(epoch, loss.item())


if __name__ == "__main__":
    main()
