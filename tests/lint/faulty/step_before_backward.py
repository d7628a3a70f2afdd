# fault: 31 [step-before-backward] optimizer.step() runs before loss.backward(): the first step has no gradients, the rest old ones
import argparse

import torch
import torch.nn as nn
import torch.optim as optim


def batches(n, batch, device):
    for _ in range(n):
        x = torch.rand(batch, 1, device=device) * 6 - 3
        yield x, torch.sin(x)


def main(argv=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--lr", type=float, default=1e-2)
    args = parser.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1)).to(device)
    loss_fn = nn.MSELoss()
    optimizer = optim.Adam(model.parameters(), lr=args.lr)

    model.train()
    for i, (x, y) in enumerate(batches(args.steps, 64, device)):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        optimizer.step()
        loss.backward()
        if i % 20 == 0:
            print(i, loss.item())


if __name__ == "__main__":
    main()
