"""SAM with spectral normalisation; two forward and backward passes a step."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import make_moons
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.data import DataLoader, TensorDataset


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base_optimizer, rho=0.05, **kwargs):
        defaults = dict(rho=rho, **kwargs)
        super(SAM, self).__init__(params, defaults)
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups
        self.defaults.update(self.base_optimizer.defaults)

    @torch.no_grad()
    def first_step(self, zero_grad=False):
        grad_norm = self._grad_norm()
        for group in self.param_groups:
            scale = group["rho"] / (grad_norm + 1e-12)
            for p in group["params"]:
                if p.grad is None:
                    continue
                self.state[p]["old_p"] = p.data.clone()
                p.add_(p.grad * scale.to(p))
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def second_step(self, zero_grad=False):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                p.data = self.state[p]["old_p"]
        self.base_optimizer.step()
        if zero_grad:
            self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        assert closure is not None, "SAM needs a closure for the second pass"
        closure = torch.enable_grad()(closure)
        self.first_step(zero_grad=True)
        closure()
        self.second_step()

    def _grad_norm(self):
        return torch.norm(
            torch.stack([
                p.grad.norm(p=2)
                for group in self.param_groups
                for p in group["params"]
                if p.grad is not None
            ]),
            p=2,
        )


class LipschitzNet(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = spectral_norm(nn.Linear(2, width))
        self.fc2 = spectral_norm(nn.Linear(width, width))
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        x = F.leaky_relu(self.fc1(x), 0.1)
        x = F.leaky_relu(self.fc2(x), 0.1)
        return self.out(x)


def train_epoch(model, loader, optimizer, device):
    model.train()
    total = count = 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)

        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.first_step(zero_grad=True)

        F.cross_entropy(model(x), y).backward()
        optimizer.second_step(zero_grad=True)

        total += loss.item() * y.numel()
        count += y.numel()
    return total / count


def accuracy(model, loader, device):
    model.eval()
    with torch.no_grad():
        hits = sum((model(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rho", type=float, default=0.05)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--n", type=int, default=1000)
    args = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def moons(seed):
        X, y = make_moons(args.n, noise=0.2, random_state=seed)
        return TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y))

    train_loader = DataLoader(moons(0), batch_size=50, shuffle=True)
    valid_loader = DataLoader(moons(1), batch_size=500)
    model = LipschitzNet(args.width).to(device)
    optimizer = SAM(model.parameters(), torch.optim.SGD, rho=args.rho, lr=0.1, momentum=0.9)
    for epoch in range(args.epochs):
        loss = train_epoch(model, train_loader, optimizer, device)
        print(f"epoch {epoch} loss {loss:.4f} acc {accuracy(model, valid_loader, device):.3f}")


if __name__ == "__main__":
    main()
