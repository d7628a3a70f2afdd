import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class Shapes(Dataset):
    """Noisy images of a disc (1) and a square (2) on background (0)."""

    def __init__(self, n, size=32, seed=0, augment=False):
        self.n, self.size, self.seed, self.augment = n, size, seed, augment

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        g = torch.Generator().manual_seed(self.seed * 100003 + i)
        s = self.size
        yy, xx = torch.meshgrid(torch.arange(s), torch.arange(s), indexing="ij")
        cy, cx, ty, tx = torch.randint(6, s - 6, (4,), generator=g).tolist()
        mask = torch.zeros(s, s, dtype=torch.long)
        mask[((yy - cy) ** 2 + (xx - cx) ** 2) < 25] = 1
        mask[((yy - ty).abs() < 4) & ((xx - tx).abs() < 4)] = 2
        image = F.one_hot(mask, 3).permute(2, 0, 1).float()
        image = image + 0.5 * torch.randn(image.shape, generator=g)
        if self.augment and torch.rand(()) < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        return image, mask


class DoubleConv(nn.Module):
    """(convolution => [BN] => ReLU) * 2"""

    def __init__(self, in_channels, out_channels, mid_channels=None):
        super().__init__()
        if not mid_channels:
            mid_channels = out_channels
        self.double_conv = nn.Sequential(
            nn.Conv2d(in_channels, mid_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(mid_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(mid_channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, x):
        return self.double_conv(x)


class UNet(nn.Module):
    def __init__(self, n_channels, n_classes, base=16):
        super().__init__()
        self.inc = DoubleConv(n_channels, base)
        self.down1 = DoubleConv(base, base * 2)
        self.down2 = DoubleConv(base * 2, base * 4)
        self.up1 = nn.ConvTranspose2d(base * 4, base * 2, 2, stride=2)
        self.conv1 = DoubleConv(base * 4, base * 2)
        self.up2 = nn.ConvTranspose2d(base * 2, base, 2, stride=2)
        self.conv2 = DoubleConv(base * 2, base)
        self.outc = nn.Conv2d(base, n_classes, kernel_size=1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.down1(F.max_pool2d(x1, 2))
        x3 = self.down2(F.max_pool2d(x2, 2))
        x = self.conv1(torch.cat([x2, self.up1(x3)], dim=1))
        x = self.conv2(torch.cat([x1, self.up2(x)], dim=1))
        return self.outc(x)


def dice_loss(logits, target, eps=1e-6):
    probs = F.softmax(logits, dim=1)
    onehot = F.one_hot(target, logits.shape[1]).permute(0, 3, 1, 2).float()
    inter = (probs * onehot).sum(dim=(2, 3))
    union = probs.sum(dim=(2, 3)) + onehot.sum(dim=(2, 3))
    return 1 - ((2 * inter + eps) / (union + eps)).mean()


@torch.inference_mode()
def evaluate(net, dataloader, device, n_classes=3):
    net.eval()
    conf = torch.zeros(n_classes, n_classes, dtype=torch.long, device=device)
    for image, mask_true in dataloader:
        image, mask_true = image.to(device), mask_true.to(device)
        mask_pred = net(image).argmax(dim=1)
        idx = mask_true.flatten() * n_classes + mask_pred.flatten()
        conf += torch.bincount(idx, minlength=n_classes**2).view(n_classes, n_classes)
    net.train()
    tp = conf.diag().float()
    iou = tp / (conf.sum(0) + conf.sum(1) - conf.diag()).clamp(min=1)
    return iou.mean().item()


def train_model(model, device, epochs, batch_size, n_train, n_val, lr=1e-3):
    train_set = Shapes(n_train, seed=1, augment=True)
    val_set = Shapes(n_val, seed=2)
    loader_args = dict(batch_size=batch_size, num_workers=0, pin_memory=device.type == "cuda")
    train_loader = DataLoader(train_set, shuffle=True, **loader_args)
    val_loader = DataLoader(val_set, shuffle=False, **loader_args)

    optimizer = torch.optim.RMSprop(model.parameters(), lr=lr, weight_decay=1e-8, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "max", patience=5)
    criterion = nn.CrossEntropyLoss()

    for epoch in range(1, epochs + 1):
        model.train()
        epoch_loss = 0
        for images, true_masks in train_loader:
            assert images.shape[1] == 3, f"expected 3 channels, got {images.shape[1]}"
            images = images.to(device=device, dtype=torch.float32)
            true_masks = true_masks.to(device=device, dtype=torch.long)

            masks_pred = model(images)
            loss = criterion(masks_pred, true_masks) + dice_loss(masks_pred, true_masks)

            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            epoch_loss += loss.item() * images.shape[0]

        val_score = evaluate(model, val_loader, device)
        scheduler.step(val_score)
        lr_now = optimizer.param_groups[0]["lr"]
        print(f"Epoch {epoch}: loss {epoch_loss / n_train:.4f} mIoU {val_score:.3f} lr {lr_now:g}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the UNet on images and target masks")
    parser.add_argument("--epochs", "-e", type=int, default=5)
    parser.add_argument("--batch-size", "-b", type=int, default=16)
    parser.add_argument("--train", type=int, default=256)
    parser.add_argument("--val", type=int, default=64)
    args = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unet = UNet(n_channels=3, n_classes=3).to(device=device)
    train_model(unet, device, args.epochs, args.batch_size, args.train, args.val)
    torch.save(unet.state_dict(), "/tmp/unet.pth")
