import argparse
import contextlib

import torch
import torch.nn as nn
import torch.utils.data as data
from torch.amp import GradScaler, autocast


class ConvNet(nn.Module):
    def __init__(self, num_classes: int = 10):
        super().__init__()

        def block(cin, cout):
            return nn.Sequential(
                nn.Conv2d(cin, cout, 3, padding=1, bias=False),
                nn.BatchNorm2d(cout),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            )

        self.encoder = nn.Sequential(block(3, 32), block(32, 64), block(64, 128))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x):
        return self.fc(self.pool(self.encoder(x)).flatten(1))


class RandomImages(data.Dataset):
    """Stand-in for the real images; deterministic per index."""

    def __init__(self, length, size=32, classes=10, offset=0):
        self.length, self.size, self.classes, self.offset = length, size, classes, offset

    def __len__(self):
        return self.length

    def __getitem__(self, idx):
        g = torch.Generator().manual_seed(self.offset + idx)
        label = int(torch.randint(self.classes, (1,), generator=g))
        image = torch.randn(3, self.size, self.size, generator=g) + label / self.classes
        return image, label


def train_epoch(model, loader, criterion, optimizer, scaler, device, max_norm, use_amp):
    model.train()
    meter = [0.0, 0]
    for images, targets in loader:
        images = images.to(device, non_blocking=True)
        targets = targets.to(device, non_blocking=True)

        optimizer.zero_grad(set_to_none=True)
        with autocast(device_type=device.type, dtype=torch.float16, enabled=use_amp):
            logits = model(images)
            loss = criterion(logits, targets)

        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        scaler.step(optimizer)
        scaler.update()

        meter[0] += loss.item() * targets.size(0)
        meter[1] += targets.size(0)
    return meter[0] / meter[1]


def evaluate(model, loader, device, use_amp):
    model.eval()
    correct = n = 0
    amp = (
        autocast(device_type=device.type, dtype=torch.float16)
        if use_amp
        else contextlib.nullcontext()
    )
    with torch.inference_mode(), amp:
        for images, targets in loader:
            images, targets = images.to(device), targets.to(device)
            correct += model(images).argmax(dim=1).eq(targets).sum().item()
            n += targets.size(0)
    return correct / n


def main(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--n", type=int, default=2048)
    p.add_argument("--batch-size", type=int, default=64)
    p.add_argument("--max-norm", type=float, default=1.0)
    p.add_argument("--resume", default="")
    p.add_argument("--ckpt", default="/tmp/amp.pt")
    args = p.parse_args(argv)

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    use_amp = device.type == "cuda"

    train_dl = data.DataLoader(
        RandomImages(args.n), batch_size=args.batch_size, shuffle=True, drop_last=True
    )
    val_dl = data.DataLoader(RandomImages(args.n // 4, offset=10**6), batch_size=args.batch_size)

    model = ConvNet().to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    scaler = GradScaler(device.type, enabled=use_amp)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[30, 60])

    start = 0
    if args.resume:
        ckpt = torch.load(args.resume, map_location=device, weights_only=True)
        model.load_state_dict(ckpt["model"])
        optimizer.load_state_dict(ckpt["optimizer"])
        scaler.load_state_dict(ckpt["scaler"])
        scheduler.load_state_dict(ckpt["scheduler"])
        start = ckpt["epoch"] + 1

    for epoch in range(start, args.epochs):
        loss = train_epoch(
            model, train_dl, criterion, optimizer, scaler, device, args.max_norm, use_amp
        )
        scheduler.step()
        acc = evaluate(model, val_dl, device, use_amp)
        print(f"[{epoch:03d}] loss={loss:.4f} acc={acc:.4f}")
        torch.save(
            dict(
                model=model.state_dict(),
                optimizer=optimizer.state_dict(),
                scaler=scaler.state_dict(),
                scheduler=scheduler.state_dict(),
                epoch=epoch,
            ),
            args.ckpt,
        )


if __name__ == "__main__":
    main()
