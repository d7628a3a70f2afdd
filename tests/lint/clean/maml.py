import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.func import functional_call


class Regressor(nn.Module):
    def __init__(self, hidden=40):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, x):
        return self.net(x)


class Sine:
    def __init__(self, generator, device):
        u = torch.rand(2, generator=generator)
        self.amplitude = float(0.1 + 4.9 * u[0])
        self.phase = float(3.14159 * u[1])
        self.generator, self.device = generator, device

    def sample(self, k):
        x = torch.rand(k, 1, generator=self.generator) * 10 - 5
        y = self.amplitude * torch.sin(x - self.phase)
        return x.to(self.device), y.to(self.device)


def adapt(model, params, x, y, inner_lr, steps, create_graph):
    """Return adapted parameters; they stay connected to `params` if create_graph."""
    for _ in range(steps):
        loss = F.mse_loss(functional_call(model, params, (x,)), y)
        grads = torch.autograd.grad(loss, tuple(params.values()), create_graph=create_graph)
        params = {n: p - inner_lr * g for (n, p), g in zip(params.items(), grads)}
    return params


def meta_step(model, optimizer, tasks, k, inner_lr):
    optimizer.zero_grad()
    params = dict(model.named_parameters())
    outer = []
    for task in tasks:
        x_s, y_s = task.sample(k)
        x_q, y_q = task.sample(k)
        fast = adapt(model, params, x_s, y_s, inner_lr, 1, create_graph=True)
        outer.append(F.mse_loss(functional_call(model, fast, (x_q,)), y_q))
    meta_loss = torch.stack(outer).mean()
    meta_loss.backward()
    optimizer.step()
    return meta_loss.item()


def meta_test(model, tasks, k, inner_lr, steps):
    """Adapting needs gradients, measuring does not."""
    model.eval()
    errors = []
    for task in tasks:
        x_s, y_s = task.sample(k)
        x_q, y_q = task.sample(100)
        start = {n: p.detach().clone().requires_grad_() for n, p in model.named_parameters()}
        fast = adapt(model, start, x_s, y_s, inner_lr, steps, create_graph=False)
        with torch.no_grad():
            errors.append(F.mse_loss(functional_call(model, fast, (x_q,)), y_q).item())
    model.train()
    return sum(errors) / len(errors)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--inner-lr", type=float, default=0.01)
    parser.add_argument("--every", type=int, default=100)
    args = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    gen = torch.Generator().manual_seed(1)
    model = Regressor().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    smoothed = None
    for it in range(1, args.iterations + 1):
        batch = [Sine(gen, device) for _ in range(args.tasks)]
        loss = meta_step(model, optimizer, batch, args.k, args.inner_lr)
        smoothed = loss if smoothed is None else 0.98 * smoothed + 0.02 * loss
        if it % args.every == 0:
            held_out = torch.Generator().manual_seed(2)
            tasks = [Sine(held_out, device) for _ in range(20)]
            mse = meta_test(model, tasks, args.k, args.inner_lr, steps=5)
            print(f"{it}: meta loss {smoothed:.4f} held-out mse after 5 steps {mse:.4f}")


if __name__ == "__main__":
    main()
