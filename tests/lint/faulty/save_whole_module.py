# fault: 32 [save-whole-module] torch.save(model) pickles the class by reference instead of saving its state_dict
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(5, 10)
        self.b = nn.Linear(10, 1)

    def forward(self, x):
        return self.b(torch.tanh(self.a(x)))


def main(path="/tmp/net_whole.pt"):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(300, 5)
    dl = DataLoader(TensorDataset(x, x.mean(dim=1, keepdim=True)), batch_size=30, shuffle=True)
    net = Net().to(device)
    opt = torch.optim.Adam(net.parameters())
    net.train()
    for epoch in range(2):
        for xb, yb in dl:
            opt.zero_grad()
            loss = nn.functional.mse_loss(net(xb.to(device)), yb.to(device))
            loss.backward()
            opt.step()
        print(epoch, loss.item())
    torch.save(net, path)


if __name__ == "__main__":
    main()
