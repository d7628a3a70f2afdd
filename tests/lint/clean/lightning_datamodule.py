import pytorch_lightning as pl
import torch
import torch.nn as nn
import torchvision.models as models
from pytorch_lightning.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, Subset
from torchmetrics import Accuracy, MetricCollection
from torchvision import transforms as T
from torchvision.datasets import CIFAR10

CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR_STD = (0.2470, 0.2435, 0.2616)


class CIFAR10DataModule(pl.LightningDataModule):
    def __init__(self, data_dir: str = "./data", batch_size: int = 256, num_workers: int = 4):
        super().__init__()
        self.save_hyperparameters()
        self.train_transform = T.Compose([
            T.RandomCrop(32, padding=4),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize(CIFAR_MEAN, CIFAR_STD),
        ])
        self.eval_transform = T.Compose([T.ToTensor(), T.Normalize(CIFAR_MEAN, CIFAR_STD)])

    def prepare_data(self):
        CIFAR10(self.hparams.data_dir, train=True, download=True)
        CIFAR10(self.hparams.data_dir, train=False, download=True)

    def setup(self, stage=None):
        root = self.hparams.data_dir
        if stage in ("fit", "validate", None):
            augmented = CIFAR10(root, train=True, transform=self.train_transform)
            plain = CIFAR10(root, train=True, transform=self.eval_transform)
            order = torch.randperm(len(plain), generator=torch.Generator().manual_seed(0)).tolist()
            self.train_set = Subset(augmented, order[:45000])
            self.val_set = Subset(plain, order[45000:])
        if stage in ("test", None):
            self.test_set = CIFAR10(root, train=False, transform=self.eval_transform)

    def _loader(self, dataset, train=False):
        return DataLoader(
            dataset,
            batch_size=self.hparams.batch_size,
            shuffle=train,
            drop_last=train,
            num_workers=self.hparams.num_workers,
            pin_memory=True,
            persistent_workers=self.hparams.num_workers > 0,
        )

    def train_dataloader(self):
        return self._loader(self.train_set, train=True)

    def val_dataloader(self):
        return self._loader(self.val_set)

    def test_dataloader(self):
        return self._loader(self.test_set)


class ResNetModule(pl.LightningModule):
    def __init__(self, lr: float = 0.05, weight_decay: float = 5e-4):
        super().__init__()
        self.save_hyperparameters()
        self.model = models.resnet18(weights=None, num_classes=10)
        self.model.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
        self.model.maxpool = nn.Identity()
        self.criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
        metrics = MetricCollection({"acc": Accuracy(task="multiclass", num_classes=10)})
        self.val_metrics = metrics.clone(prefix="val_")
        self.test_metrics = metrics.clone(prefix="test_")

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, _):
        images, labels = batch
        loss = self.criterion(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        images, labels = batch
        logits = self(images)
        self.val_metrics.update(logits, labels)
        self.log("val_loss", self.criterion(logits, labels), on_epoch=True)

    def on_validation_epoch_end(self):
        self.log_dict(self.val_metrics.compute(), prog_bar=True)
        self.val_metrics.reset()

    def test_step(self, batch, _):
        images, labels = batch
        self.test_metrics.update(self(images), labels)

    def on_test_epoch_end(self):
        self.log_dict(self.test_metrics.compute())
        self.test_metrics.reset()

    def configure_optimizers(self):
        opt = torch.optim.SGD(
            self.parameters(),
            lr=self.hparams.lr,
            momentum=0.9,
            weight_decay=self.hparams.weight_decay,
            nesterov=True,
        )
        sched = torch.optim.lr_scheduler.OneCycleLR(
            opt, max_lr=self.hparams.lr, total_steps=self.trainer.estimated_stepping_batches
        )
        return [opt], [{"scheduler": sched, "interval": "step"}]


if __name__ == "__main__":
    pl.seed_everything(7, workers=True)
    dm = CIFAR10DataModule()
    module = ResNetModule()
    trainer = pl.Trainer(
        max_epochs=30,
        accelerator="auto",
        devices=1,
        precision="16-mixed",
        logger=TensorBoardLogger("lightning_logs", name="resnet"),
        callbacks=[pl.callbacks.ModelCheckpoint(monitor="val_acc", mode="max")],
    )
    trainer.fit(module, datamodule=dm)
    trainer.test(module, datamodule=dm, ckpt_path="best")
