from contextlib import contextmanager

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@contextmanager
def eval_mode(net):
    before = net.training
    net.eval()
    try:
        yield net
    finally:
        net.train(before)


def pgd_attack(net, x, y, eps=0.1, alpha=0.02, steps=7):
    """Projected gradient ascent inside an l-infinity ball around x."""
    x = x.detach()
    adv = (x + torch.empty_like(x).uniform_(-eps, eps)).clamp(0, 1)
    for _ in range(steps):
        adv.requires_grad_(True)
        loss = F.cross_entropy(net(adv), y)
        (grad,) = torch.autograd.grad(loss, adv)
        adv = adv.detach() + alpha * grad.sign()
        adv = torch.min(torch.max(adv, x - eps), x + eps).clamp(0, 1)
    return adv.detach()


def fgsm_attack(net, x, y, eps=0.1):
    x = x.clone().detach().requires_grad_(True)
    loss = F.cross_entropy(net(x), y)
    grad = torch.autograd.grad(loss, x)[0]
    return (x + eps * grad.sign()).clamp(0, 1).detach()


def train(net, loader, optimizer, device, eps):
    net.train()
    total = seen = 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        with eval_mode(net):
            x_adv = pgd_attack(net, x, y, eps)
        optimizer.zero_grad()
        loss = 0.5 * F.cross_entropy(net(x), y) + 0.5 * F.cross_entropy(net(x_adv), y)
        loss.backward()
        optimizer.step()
        total += loss.item() * x.size(0)
        seen += x.size(0)
    return total / seen


def evaluate(net, loader, device, attack=None):
    net.eval()
    correct = n = 0
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        if attack is not None:
            x = attack(net, x, y)
        with torch.no_grad():
            correct += net(x).argmax(1).eq(y).sum().item()
        n += y.size(0)
    return correct / n


def main(epochs=10, batch_size=64, eps=0.1):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(load_digits().target)
    x_tr, x_te, y_tr, y_te = train_test_split(images, labels, test_size=0.2, random_state=0)
    train_loader = DataLoader(TensorDataset(x_tr, y_tr), batch_size, shuffle=True)
    test_loader = DataLoader(TensorDataset(x_te, y_te), 256)

    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(64 * 16, 10),
    ).to(device)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    for epoch in range(epochs):
        loss = train(net, train_loader, optimizer, device, eps)
        print(f"epoch {epoch} adversarial training loss {loss:.4f}")

    print(f"clean {evaluate(net, test_loader, device):.3f}")
    for name, attack in {
        "fgsm": lambda n, x, y: fgsm_attack(n, x, y, eps),
        "pgd-7": lambda n, x, y: pgd_attack(n, x, y, eps),
        "pgd-20": lambda n, x, y: pgd_attack(n, x, y, eps, eps / 10, 20),
    }.items():
        print(f"{name} {evaluate(net, test_loader, device, attack):.3f}")


if __name__ == "__main__":
    main()
