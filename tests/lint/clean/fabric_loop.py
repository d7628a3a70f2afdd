import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision.transforms as T
from lightning.fabric import Fabric, seed_everything
from torch.optim.lr_scheduler import StepLR
from torchmetrics.classification import Accuracy
from torchvision.datasets import MNIST


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))


def run(fabric: Fabric, batch_size: int = 64, epochs: int = 5, lr: float = 1.0) -> None:
    seed_everything(1)

    transform = T.Compose([T.ToTensor(), T.Normalize((0.1307,), (0.3081,))])
    with fabric.rank_zero_first(local=False):
        train_dataset = MNIST("data", train=True, transform=transform, download=True)
        test_dataset = MNIST("data", train=False, transform=transform, download=True)

    train_loader = torch.utils.data.DataLoader(
        train_dataset, batch_size=batch_size, shuffle=True, num_workers=2
    )
    test_loader = torch.utils.data.DataLoader(test_dataset, batch_size=1000, num_workers=2)
    train_loader, test_loader = fabric.setup_dataloaders(train_loader, test_loader)

    model = Net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=lr)
    model, optimizer = fabric.setup(model, optimizer)
    scheduler = StepLR(optimizer, step_size=1, gamma=0.7)
    test_acc = Accuracy(task="multiclass", num_classes=10).to(fabric.device)

    for epoch in range(1, epochs + 1):
        model.train()
        for batch_idx, (data, target) in enumerate(train_loader):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(data), target)
            fabric.backward(loss)
            fabric.clip_gradients(model, optimizer, max_norm=5.0)
            optimizer.step()
            if batch_idx % 100 == 0:
                fabric.print(f"epoch {epoch} [{batch_idx}/{len(train_loader)}] {loss.item():.4f}")
        scheduler.step()

    model.eval()
    test_loss = torch.zeros((), device=fabric.device)
    count = torch.zeros((), device=fabric.device)
    with torch.no_grad():
        for data, target in test_loader:
            output = model(data)
            test_loss += F.cross_entropy(output, target, reduction="sum")
            count += target.numel()
            test_acc(output, target)
    total = fabric.all_reduce(test_loss, reduce_op="sum")
    count = fabric.all_reduce(count, reduce_op="sum")
    fabric.print(f"loss {(total / count).item():.4f} accuracy {100 * test_acc.compute():.1f}%")

    fabric.save("mnist_cnn.ckpt", {"model": model, "epoch": epochs})


if __name__ == "__main__":
    fabric = Fabric(accelerator="auto", devices="auto", precision="bf16-mixed")
    fabric.launch()
    run(fabric)
