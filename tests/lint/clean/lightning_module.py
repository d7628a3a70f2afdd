from argparse import ArgumentParser

import lightning as L
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision import transforms
from torchvision.datasets import MNIST


class LitClassifier(L.LightningModule):
    def __init__(self, hidden_dim=128, learning_rate=1e-3, num_classes=10):
        super().__init__()
        self.save_hyperparameters()
        self.backbone = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_dim),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(hidden_dim, num_classes),
        )
        self.train_acc = MulticlassAccuracy(num_classes=num_classes)
        self.val_acc = MulticlassAccuracy(num_classes=num_classes)
        self.test_acc = MulticlassAccuracy(num_classes=num_classes)

    def forward(self, x):
        return self.backbone(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        loss = F.cross_entropy(logits, y)
        self.train_acc(logits, y)
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/acc", self.train_acc, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.val_acc(logits, y)
        self.log("val/loss", F.cross_entropy(logits, y), prog_bar=True)
        self.log("val/acc", self.val_acc, prog_bar=True)

    def test_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.test_acc(logits, y)
        self.log("test/loss", F.cross_entropy(logits, y))
        self.log("test/acc", self.test_acc)

    def predict_step(self, batch, batch_idx):
        x, _ = batch
        return self(x).softmax(dim=-1)

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, T_max=self.trainer.max_epochs
        )
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


def main():
    parser = ArgumentParser()
    parser.add_argument("--batch_size", default=128, type=int)
    parser.add_argument("--hidden_dim", default=128, type=int)
    parser.add_argument("--max_epochs", default=10, type=int)
    parser.add_argument("--data_dir", default="data")
    args = parser.parse_args()

    L.seed_everything(1234, workers=True)

    tfm = transforms.Compose([
        transforms.ToTensor(),
        transforms.Normalize((0.1307,), (0.3081,)),
    ])
    dataset = MNIST(args.data_dir, train=True, download=True, transform=tfm)
    mnist_test = MNIST(args.data_dir, train=False, download=True, transform=tfm)
    mnist_train, mnist_val = random_split(
        dataset, [55000, 5000], generator=torch.Generator().manual_seed(42)
    )

    train_loader = DataLoader(mnist_train, batch_size=args.batch_size, shuffle=True, num_workers=4)
    val_loader = DataLoader(mnist_val, batch_size=args.batch_size, num_workers=4)
    test_loader = DataLoader(mnist_test, batch_size=args.batch_size, num_workers=4)

    model = LitClassifier(hidden_dim=args.hidden_dim)
    trainer = L.Trainer(
        max_epochs=args.max_epochs,
        deterministic=True,
        gradient_clip_val=1.0,
        callbacks=[
            ModelCheckpoint(monitor="val/acc", mode="max", save_top_k=1),
            EarlyStopping(monitor="val/loss", patience=3),
            LearningRateMonitor(logging_interval="epoch"),
        ],
    )
    trainer.fit(model, train_loader, val_loader)
    result = trainer.test(dataloaders=test_loader, ckpt_path="best")
    print(result)


if __name__ == "__main__":
    main()
