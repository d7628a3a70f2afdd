import argparse
import copy

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms
from torchvision.models import resnet18
from tqdm import tqdm


def rand_bbox(size, lam):
    W, H = size[3], size[2]
    cut_rat = np.sqrt(1.0 - lam)
    cut_w, cut_h = int(W * cut_rat), int(H * cut_rat)
    cx, cy = np.random.randint(W), np.random.randint(H)
    x1, x2 = np.clip([cx - cut_w // 2, cx + cut_w // 2], 0, W)
    y1, y2 = np.clip([cy - cut_h // 2, cy + cut_h // 2], 0, H)
    return x1, y1, x2, y2


def mixup_data(x, y, alpha):
    lam = np.random.beta(alpha, alpha) if alpha > 0 else 1.0
    index = torch.randperm(x.size(0), device=x.device)
    return lam * x + (1 - lam) * x[index], y, y[index], lam


def cutmix_data(x, y, alpha):
    lam = np.random.beta(alpha, alpha)
    index = torch.randperm(x.size(0), device=x.device)
    x1, y1, x2, y2 = rand_bbox(x.size(), lam)
    x = x.clone()
    x[:, :, y1:y2, x1:x2] = x[index, :, y1:y2, x1:x2]
    lam = 1 - (x2 - x1) * (y2 - y1) / (x.size(-1) * x.size(-2))
    return x, y, y[index], lam


def mix_criterion(criterion, pred, y_a, y_b, lam):
    return lam * criterion(pred, y_a) + (1 - lam) * criterion(pred, y_b)


def train(net, loader, optimizer, criterion, device, args):
    net.train()
    loss_sum = n = 0
    for x, y in tqdm(loader, leave=False):
        x, y = x.to(device), y.to(device)
        mix = cutmix_data if np.random.rand() < args.cutmix_prob else mixup_data
        x, y_a, y_b, lam = mix(x, y, args.alpha)
        loss = mix_criterion(criterion, net(x), y_a, y_b, lam)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * x.size(0)
        n += x.size(0)
    return loss_sum / n


def evaluate(net, loader, device):
    net.eval()
    loss_sum = correct = n = 0
    with torch.no_grad():
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            out = net(x)
            loss_sum += F.cross_entropy(out, y, reduction="sum").item()
            correct += (out.argmax(1) == y).sum().item()
            n += y.size(0)
    return loss_sum / n, correct / n


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="./data")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--alpha", type=float, default=1.0)
    parser.add_argument("--cutmix-prob", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=20)
    args = parser.parse_args()

    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    norm = transforms.Normalize((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
    aug = transforms.Compose(
        [transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(),
         transforms.ToTensor(), norm]
    )
    plain = transforms.Compose([transforms.ToTensor(), norm])
    train_aug = datasets.CIFAR100(args.data, train=True, download=True, transform=aug)
    train_plain = datasets.CIFAR100(args.data, train=True, transform=plain)
    perm = np.random.permutation(len(train_aug)).tolist()
    train_set = torch.utils.data.Subset(train_aug, perm[5000:])
    valid_set = torch.utils.data.Subset(train_plain, perm[:5000])
    test_set = datasets.CIFAR100(args.data, train=False, download=True, transform=plain)

    train_dl = DataLoader(train_set, args.batch_size, shuffle=True, num_workers=4, drop_last=True)
    valid_dl = DataLoader(valid_set, 256, num_workers=2)
    test_dl = DataLoader(test_set, 256, num_workers=2)

    net = resnet18(num_classes=100)
    net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    net.maxpool = nn.Identity()
    net.to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs)

    best_acc, best_weights = 0.0, copy.deepcopy(net.state_dict())
    for epoch in range(args.epochs):
        loss = train(net, train_dl, optimizer, criterion, device, args)
        val_loss, val_acc = evaluate(net, valid_dl, device)
        scheduler.step()
        if val_acc > best_acc:
            best_acc, best_weights = val_acc, copy.deepcopy(net.state_dict())
        print(f"{epoch:3d} train {loss:.3f} val {val_loss:.3f} acc {val_acc:.4f}")

    net.load_state_dict(best_weights)
    print("test loss %.3f acc %.4f" % evaluate(net, test_dl, device))


if __name__ == "__main__":
    main()
