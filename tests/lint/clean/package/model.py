"""Wide residual network for small images."""

import torch
from torch import nn
from torch.nn import functional as F


class WideBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int, stride: int = 1, p: float = 0.0) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.dropout = nn.Dropout(p)
        self.skip = (
            nn.Identity()
            if c_in == c_out and stride == 1
            else nn.Conv2d(c_in, c_out, 1, stride, bias=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.bn1(x))
        out = self.conv1(h)
        out = self.conv2(self.dropout(F.relu(self.bn2(out))))
        return out + self.skip(h)


class WideResNet(nn.Module):
    def __init__(self, num_classes: int, width: int = 16, p: float = 0.1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.stages = nn.Sequential(
            WideBlock(width, width, 1, p),
            WideBlock(width, 2 * width, 2, p),
            WideBlock(2 * width, 4 * width, 2, p),
        )
        self.norm = nn.BatchNorm2d(4 * width)
        self.classifier = nn.Linear(4 * width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.stages(self.stem(x))))
        return self.classifier(x.mean(dim=(2, 3)))


def build_model(name: str, num_classes: int) -> nn.Module:
    registry = {
        "wrn-s": lambda: WideResNet(num_classes, 8),
        "wrn-m": lambda: WideResNet(num_classes, 16),
    }
    return registry[name]()
