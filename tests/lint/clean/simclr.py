import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import models
from torchvision.datasets import CIFAR10
from torchvision.transforms import transforms

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class TwoViews:
    def __init__(self, base_transform, n_views=2):
        self.base_transform = base_transform
        self.n_views = n_views

    def __call__(self, x):
        return [self.base_transform(x) for _ in range(self.n_views)]


def simclr_pipeline(size, s=1.0):
    color_jitter = transforms.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)
    return transforms.Compose([
        transforms.RandomResizedCrop(size=size),
        transforms.RandomHorizontalFlip(),
        transforms.RandomApply([color_jitter], p=0.8),
        transforms.RandomGrayscale(p=0.2),
        transforms.ToTensor(),
        transforms.Normalize(MEAN, STD),
    ])


class SimCLR(nn.Module):
    def __init__(self, out_dim=128):
        super().__init__()
        backbone = models.resnet18(weights=None)
        backbone.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        backbone.maxpool = nn.Identity()
        self.dim = backbone.fc.in_features
        backbone.fc = nn.Identity()
        self.backbone = backbone
        self.projector = nn.Sequential(
            nn.Linear(self.dim, self.dim), nn.ReLU(inplace=True), nn.Linear(self.dim, out_dim)
        )

    def forward(self, x):
        h = self.backbone(x)
        return h, F.normalize(self.projector(h), dim=1)


def info_nce(z, temperature):
    n = z.shape[0] // 2
    sim = z @ z.T / temperature
    sim.fill_diagonal_(float("-inf"))
    targets = torch.arange(2 * n, device=z.device).roll(n)
    return F.cross_entropy(sim, targets)


@torch.no_grad()
def features(model, loader, device):
    model.eval()
    hs, ys = [], []
    for images, labels in loader:
        hs.append(model.backbone(images.to(device)).cpu())
        ys.append(labels)
    return torch.cat(hs), torch.cat(ys)


def linear_probe(train, test, device, epochs=50, lr=0.1):
    (h_train, y_train), (h_test, y_test) = train, test
    mean, std = h_train.mean(dim=0), h_train.std(dim=0).clamp_min(1e-6)
    h_train = ((h_train - mean) / std).to(device)
    h_test = ((h_test - mean) / std).to(device)
    y_train = y_train.to(device)
    probe = nn.Linear(h_train.shape[1], 10).to(device)
    opt = torch.optim.SGD(probe.parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):
        for idx in torch.randperm(len(h_train), device=device).split(512):
            opt.zero_grad()
            F.cross_entropy(probe(h_train[idx]), y_train[idx]).backward()
            opt.step()
    with torch.no_grad():
        return (probe(h_test).argmax(dim=1).cpu() == y_test).float().mean().item()


def main():
    p = argparse.ArgumentParser(description="SimCLR on CIFAR-10")
    p.add_argument("--data", default="./datasets")
    p.add_argument("--epochs", type=int, default=200)
    p.add_argument("--batch-size", type=int, default=512)
    p.add_argument("--temperature", type=float, default=0.5)
    args = p.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plain = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    pretrain_set = CIFAR10(
        args.data, train=True, download=True, transform=TwoViews(simclr_pipeline(32))
    )
    pretrain_loader = DataLoader(
        pretrain_set, args.batch_size, shuffle=True, num_workers=8, drop_last=True, pin_memory=True
    )
    probe_train = DataLoader(CIFAR10(args.data, train=True, transform=plain), 512, num_workers=4)
    probe_test = DataLoader(CIFAR10(args.data, train=False, transform=plain), 512, num_workers=4)

    model = SimCLR().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=args.epochs * len(pretrain_loader)
    )
    scaler = torch.amp.GradScaler("cuda", enabled=device.type == "cuda")

    for epoch in range(args.epochs):
        model.train()
        for step, (views, _) in enumerate(pretrain_loader):
            images = torch.cat(views, dim=0).to(device, non_blocking=True)
            with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
                _, z = model(images)
            loss = info_nce(z.float(), args.temperature)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()
            if step % 50 == 0:
                print(f"epoch {epoch} step {step} loss {loss.item():.4f}")

    acc = linear_probe(
        features(model, probe_train, device), features(model, probe_test, device), device
    )
    print(f"linear probe accuracy {acc:.4f}")
    torch.save(model.backbone.state_dict(), "simclr_backbone.pt")


if __name__ == "__main__":
    main()
