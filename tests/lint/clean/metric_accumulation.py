from __future__ import annotations

import argparse
from collections.abc import Iterable

import torch
import torch.nn as nn
import torchmetrics
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import MeanMetric, MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassAUROC,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)


def blobs(n: int, k: int, seed: int) -> TensorDataset:
    g = torch.Generator().manual_seed(seed)
    centers = torch.randn(k, 8, generator=torch.Generator().manual_seed(99)) * 1.5
    y = torch.randint(k, (n,), generator=g)
    return TensorDataset(centers[y] + torch.randn(n, 8, generator=g), y)


class Classifier(nn.Module):
    def __init__(self, n_in: int, k: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_in, 64), nn.ReLU(), nn.Linear(64, k))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


class Session:
    def __init__(self, model: nn.Module, k: int, device: torch.device, lr: float) -> None:
        self.model = model.to(device)
        self.device = device
        self.loss_fn = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.NAdam(self.model.parameters(), lr=lr)
        self.train_loss = MeanMetric().to(device)
        self.val_metrics = MetricCollection(
            {
                "acc": MulticlassAccuracy(k, average="micro"),
                "f1": MulticlassF1Score(k),
                "auroc": MulticlassAUROC(k),
            },
            prefix="val/",
        ).to(device)
        self.val_loss = MeanMetric().to(device)
        self.confusion = MulticlassConfusionMatrix(k).to(device)

    def batches(self, loader: Iterable):
        for xb, yb in loader:
            yield xb.to(self.device), yb.to(self.device)

    def train_epoch(self, loader: DataLoader) -> float:
        self.train_loss.reset()
        self.model.train()
        for xb, yb in self.batches(loader):
            loss = self.loss_fn(self.model(xb), yb)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.train_loss.update(loss.detach(), weight=len(xb))
        return self.train_loss.compute().item()

    @torch.inference_mode()
    def validate(self, loader: DataLoader) -> dict[str, float]:
        for metric in (self.val_metrics, self.val_loss, self.confusion):
            metric.reset()
        self.model.eval()
        for xb, yb in self.batches(loader):
            logits = self.model(xb)
            self.val_loss.update(self.loss_fn(logits, yb), weight=len(xb))
            self.val_metrics.update(logits.softmax(dim=-1), yb)
            self.confusion.update(logits.argmax(dim=-1), yb)
        scores = {name: value.item() for name, value in self.val_metrics.compute().items()}
        return scores | {"val/loss": self.val_loss.compute().item()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--n", type=int, default=5000)
    args = parser.parse_args()

    torch.manual_seed(0)
    print("torchmetrics", torchmetrics.__version__)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader = DataLoader(blobs(args.n, args.classes, 1), batch_size=128, shuffle=True)
    val_loader = DataLoader(blobs(args.n // 4, args.classes, 2), batch_size=512)
    session = Session(Classifier(8, args.classes), args.classes, device, lr=2e-3)
    for epoch in range(args.epochs):
        loss = session.train_epoch(train_loader)
        scores = session.validate(val_loader)
        print(epoch, f"{loss:.4f}", {k: round(v, 4) for k, v in scores.items()})
    print(session.confusion.compute().cpu().numpy())


if __name__ == "__main__":
    main()
