# fault: 18 [missing-super-init] super().__init__() is missing: AttributeError when the first layer is assigned
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Attention(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.score = nn.Linear(d, 1)

    def forward(self, x):
        w = torch.softmax(self.score(x), dim=1)
        return (w * x).sum(dim=1)


class SetClassifier(nn.Module):
    def __init__(self, d, k):
        self.embed = nn.Linear(d, 32)
        self.pool = Attention(32)
        self.out = nn.Linear(32, k)

    def forward(self, x):
        return self.out(self.pool(torch.relu(self.embed(x))))


def main():
    torch.manual_seed(0)
    x = torch.randn(256, 5, 4)
    y = (x.amax(dim=(1, 2)) > 2).long()
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = SetClassifier(4, 2)
    opt = torch.optim.Adam(model.parameters())
    model.train()
    for xb, yb in loader:
        opt.zero_grad()
        loss = nn.functional.cross_entropy(model(xb), yb)
        loss.backward()
        opt.step()
    print(loss.item())


if __name__ == "__main__":
    main()
