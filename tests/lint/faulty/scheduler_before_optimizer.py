# fault: 19 [scheduler-before-optimizer] scheduler.step() before the epoch's optimizer steps skips the first learning rate
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset


class Experiment:
    def __init__(self, lr=0.1):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1)).to(self.device)
        self.loss = nn.MSELoss()
        self.opt = SGD(self.net.parameters(), lr=lr)
        self.sched = StepLR(self.opt, step_size=2, gamma=0.1)

    def run(self, loader, epochs):
        for epoch in range(epochs):
            self.sched.step()
            self.net.train()
            for x, y in loader:
                x, y = x.to(self.device), y.to(self.device)
                self.opt.zero_grad()
                loss = self.loss(self.net(x), y)
                loss.backward()
                self.opt.step()
            print(epoch, loss.item(), self.opt.param_groups[0]["lr"])


def main():
    torch.manual_seed(0)
    x = torch.randn(400, 5)
    loader = DataLoader(TensorDataset(x, x.sum(dim=1, keepdim=True)), batch_size=40, shuffle=True)
    Experiment().run(loader, epochs=6)


if __name__ == "__main__":
    main()
