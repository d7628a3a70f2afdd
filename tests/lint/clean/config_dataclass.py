"""Fashion classifier configured by one frozen dataclass."""

from __future__ import annotations

import dataclasses
import json
import random
from dataclasses import dataclass, field
from typing import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn, optim
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True)
class OptimConfig:
    name: str = "adamw"
    lr: float = 3e-4
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass(frozen=True)
class Config:
    seed: int = 1337
    width: int = 128
    depth: int = 3
    dropout: float = 0.1
    batch_size: int = 128
    epochs: int = 20
    label_smoothing: float = 0.05
    optim: OptimConfig = field(default_factory=OptimConfig)
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


class ArrayDataset(Dataset[tuple[Tensor, int]]):
    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x = torch.as_tensor(x, dtype=torch.float32)
        self.y = y.tolist()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return self.x[i], self.y[i]


class ResidualBlock(nn.Module):
    def __init__(self, dim: int, p: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.fc1(self.norm(x)))
        return x + F.dropout(self.fc2(h), p=self.p, training=self.training)


class Model(nn.Module):
    def __init__(self, cfg: Config, n_in: int, n_out: int) -> None:
        super().__init__()
        self.stem = nn.Linear(n_in, cfg.width)
        self.blocks = nn.ModuleList(
            [ResidualBlock(cfg.width, cfg.dropout) for _ in range(cfg.depth)]
        )
        self.out = nn.Linear(cfg.width, n_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.out(x)


def build_optimizer(model: nn.Module, cfg: OptimConfig) -> optim.Optimizer:
    match cfg.name:
        case "adamw":
            return optim.AdamW(
                model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay, betas=cfg.betas
            )
        case "sgd":
            return optim.SGD(model.parameters(), lr=cfg.lr, momentum=0.9, nesterov=True)
        case other:
            raise ValueError(f"unknown optimizer {other!r}")


def train_steps(
    model: nn.Module, opt: optim.Optimizer, dl: DataLoader, cfg: Config
) -> Iterator[float]:
    model.train()
    for xb, yb in dl:
        xb, yb = xb.to(cfg.device), yb.to(cfg.device)
        loss = F.cross_entropy(model(xb), yb, label_smoothing=cfg.label_smoothing)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        yield loss.item()


@torch.inference_mode()
def accuracy(model: nn.Module, dl: DataLoader, cfg: Config) -> float:
    model.eval()
    hits = 0
    for xb, yb in dl:
        hits += (model(xb.to(cfg.device)).argmax(dim=-1).cpu() == yb).sum().item()
    return hits / len(dl.dataset)


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def main(cfg: Config = Config()) -> float:
    print(json.dumps(dataclasses.asdict(cfg), indent=2))
    seed_everything(cfg.seed)
    x, y = load_digits(return_X_y=True)
    x_tr, x_te, y_tr, y_te = train_test_split(x / 16.0, y, test_size=0.2, random_state=cfg.seed)
    dl_tr = DataLoader(ArrayDataset(x_tr, y_tr), cfg.batch_size, shuffle=True)
    dl_te = DataLoader(ArrayDataset(x_te, y_te), cfg.batch_size)
    model = Model(cfg, n_in=64, n_out=10).to(cfg.device)
    opt = build_optimizer(model, cfg.optim)
    for epoch in range(cfg.epochs):
        for step, loss in enumerate(train_steps(model, opt, dl_tr, cfg)):
            if step % 10 == 0:
                print(f"{epoch=} {step=} {loss=:.4f}")
    acc = accuracy(model, dl_te, cfg)
    print(f"test accuracy {acc:.3f}")
    return acc


if __name__ == "__main__":
    main()
