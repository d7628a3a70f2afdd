# fault: 29 [missing-zero-grad] the accelerate loop never calls optimizer.zero_grad()
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms


def main(epochs=3, lr=1e-3, batch_size=64):
    set_seed(0)
    accelerator = Accelerator(mixed_precision="bf16")
    tfm = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))]
    )
    train_ds = datasets.CIFAR10("data", train=True, download=True, transform=tfm)
    test_ds = datasets.CIFAR10("data", train=False, download=True, transform=tfm)
    train_dl = DataLoader(train_ds, batch_size=batch_size, shuffle=True)
    test_dl = DataLoader(test_ds, batch_size=256)

    model = models.resnet18(num_classes=10)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    model, optimizer, train_dl, test_dl = accelerator.prepare(model, optimizer, train_dl, test_dl)

    for epoch in range(epochs):
        model.train()
        for x, y in train_dl:
            loss = F.cross_entropy(model(x), y)
            accelerator.backward(loss)
            optimizer.step()

        model.eval()
        correct = n = 0
        with torch.no_grad():
            for x, y in test_dl:
                pred, ref = accelerator.gather_for_metrics((model(x).argmax(dim=-1), y))
                correct += (pred == ref).sum().item()
                n += ref.numel()
        accelerator.print(f"epoch {epoch} accuracy {correct / n:.3f}")


if __name__ == "__main__":
    main()
