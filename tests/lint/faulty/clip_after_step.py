# fault: 18 [misplaced-clipping] clipping after optimizer.step() comes too late
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class LitLike:
    def __init__(self, net, lr, max_norm):
        self.net, self.max_norm = net, max_norm
        self.optim = torch.optim.Adam(net.parameters(), lr=lr)
        self.loss = nn.HuberLoss()

    def training_step(self, x, y):
        self.optim.zero_grad(set_to_none=True)
        loss = self.loss(self.net(x), y)
        loss.backward()
        self.optim.step()
        torch.nn.utils.clip_grad_value_(self.net.parameters(), self.max_norm)
        return loss.item()

    def fit(self, dl, epochs):
        self.net.train()
        for e in range(epochs):
            total = sum(self.training_step(x, y) * len(x) for x, y in dl)
            print(e, total / len(dl.dataset))


def main():
    torch.manual_seed(0)
    x = torch.randn(320, 7)
    dl = DataLoader(TensorDataset(x, 10 * x[:, :1] ** 3), batch_size=32, shuffle=True)
    net = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 1))
    LitLike(net, lr=1e-2, max_norm=0.1).fit(dl, 3)


if __name__ == "__main__":
    main()
