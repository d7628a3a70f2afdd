import copy
import logging
from pathlib import Path

import torch
from sklearn.datasets import make_classification
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

log = logging.getLogger(__name__)


class MLP(nn.Module):
    def __init__(self, n_in, n_out, hidden=(64, 32), p=0.1):
        super().__init__()
        blocks = []
        for h in hidden:
            blocks += [nn.Linear(n_in, h), nn.BatchNorm1d(h), nn.ReLU(), nn.Dropout(p)]
            n_in = h
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(n_in, n_out)

    def forward(self, x):
        return self.head(self.body(x))


class Trainer:
    """Owns the model, the optimizer and the loop."""

    def __init__(self, model, loss_fn, lr=1e-3, device=None, clip=1.0, ckpt_dir=None):
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.loss_fn = loss_fn
        self.clip = clip
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr, weight_decay=1e-2)
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, mode="min", factor=0.5, patience=2
        )
        self.best_loss = float("inf")
        self.best_state = None
        self.ckpt_dir = Path(ckpt_dir) if ckpt_dir else None
        self.history = {"train_loss": [], "val_loss": [], "val_acc": []}

    def fit(self, train_loader, val_loader, epochs):
        for epoch in range(epochs):
            train_loss = self._train_epoch(train_loader)
            val_loss, val_acc = self.evaluate(val_loader)
            self.scheduler.step(val_loss)
            self.history["train_loss"].append(train_loss)
            self.history["val_loss"].append(val_loss)
            self.history["val_acc"].append(val_acc)
            log.info("epoch %d train %.4f val %.4f acc %.3f", epoch, train_loss, val_loss, val_acc)
            if val_loss < self.best_loss:
                self.best_loss = val_loss
                self.best_state = copy.deepcopy(self.model.state_dict())
                self._save(epoch)
        if self.best_state is not None:
            self.model.load_state_dict(self.best_state)
        return self.history

    def _train_epoch(self, loader):
        self.model.train()
        total, n = 0.0, 0
        for batch in loader:
            loss, size = self._step(batch)
            total += loss * size
            n += size
        return total / n

    def _step(self, batch):
        x, y = (t.to(self.device, non_blocking=True) for t in batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_fn(self.model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return loss.item(), x.shape[0]

    @torch.no_grad()
    def evaluate(self, loader):
        self.model.eval()
        total, correct, n = 0.0, 0, 0
        for x, y in loader:
            x, y = x.to(self.device), y.to(self.device)
            logits = self.model(x)
            total += self.loss_fn(logits, y).item() * len(y)
            correct += (logits.argmax(-1) == y).sum().item()
            n += len(y)
        return total / n, correct / n

    def _save(self, epoch):
        if self.ckpt_dir is None:
            return
        self.ckpt_dir.mkdir(parents=True, exist_ok=True)
        torch.save(
            {
                "epoch": epoch,
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "best_loss": self.best_loss,
            },
            self.ckpt_dir / "best.pt",
        )

    def resume(self, path):
        ckpt = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(ckpt["model"])
        self.optimizer.load_state_dict(ckpt["optimizer"])
        self.scheduler.load_state_dict(ckpt["scheduler"])
        self.best_loss = ckpt["best_loss"]
        return ckpt["epoch"] + 1


def main(n_samples=2000, epochs=10, batch_size=64):
    logging.basicConfig(level=logging.INFO)
    torch.manual_seed(0)
    X, y = make_classification(n_samples, 20, n_informative=10, n_classes=3, random_state=0)
    data = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y))
    train, val, test = random_split(data, [0.7, 0.15, 0.15])
    trainer = Trainer(MLP(20, 3), nn.CrossEntropyLoss())
    trainer.fit(
        DataLoader(train, batch_size, shuffle=True, drop_last=True),
        DataLoader(val, batch_size * 2),
        epochs,
    )
    loss, acc = trainer.evaluate(DataLoader(test, batch_size * 2))
    log.info("test loss %.4f acc %.3f", loss, acc)


if __name__ == "__main__":
    main()
