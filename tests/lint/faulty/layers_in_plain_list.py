# fault: 12 [layers-in-plain-list] the hidden layers live in a plain list: not in parameters(), not moved by .to()
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class DeepNet(nn.Module):
    def __init__(self, d_in, d, d_out, depth):
        super().__init__()
        self.inp = nn.Linear(d_in, d)
        self.hidden = [nn.Linear(d, d) for _ in range(depth)]
        self.out = nn.Linear(d, d_out)

    def forward(self, x):
        x = F.relu(self.inp(x))
        for layer in self.hidden:
            x = F.relu(layer(x))
        return self.out(x)


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(640, 12)
    y = x[:, :3].argmax(dim=1)
    dl = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    net = DeepNet(12, 32, 3, depth=3).to(device)
    print(sum(p.numel() for p in net.parameters()), "parameters")
    opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    net.train()
    for _ in range(3):
        for xb, yb in dl:
            opt.zero_grad()
            loss = F.cross_entropy(net(xb.to(device)), yb.to(device))
            loss.backward()
            opt.step()
    print(loss.item())


if __name__ == "__main__":
    main()
