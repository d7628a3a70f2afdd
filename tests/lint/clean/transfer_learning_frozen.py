from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, models
from torchvision.transforms import v2

IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def make_transforms(size=224):
    to_float = [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
    ]
    return {
        "train": v2.Compose([v2.RandomResizedCrop(size), v2.RandomHorizontalFlip(), *to_float]),
        "val": v2.Compose([v2.Resize(256), v2.CenterCrop(size), *to_float]),
    }


def make_loaders(root: Path, batch_size: int):
    tfms = make_transforms()
    image_datasets = {x: datasets.ImageFolder(root / x, tfms[x]) for x in ("train", "val")}
    dataloaders = {
        x: DataLoader(
            image_datasets[x], batch_size=batch_size, shuffle=(x == "train"), num_workers=4
        )
        for x in ("train", "val")
    }
    return dataloaders, image_datasets["train"].classes


def build_model(num_classes: int) -> nn.Module:
    model = models.resnet50(weights=models.ResNet50_Weights.IMAGENET1K_V2)
    for param in model.parameters():
        param.requires_grad = False
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model


def freeze_batchnorm(model: nn.Module) -> None:
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eval()


def train_model(model, dataloaders, criterion, optimizer, device, num_epochs, out: Path):
    best_acc = 0.0
    for epoch in range(num_epochs):
        print(f"Epoch {epoch}/{num_epochs - 1}")
        for phase in ["train", "val"]:
            if phase == "train":
                model.train()
                freeze_batchnorm(model)
            else:
                model.eval()

            running_loss = 0.0
            running_corrects = 0
            for inputs, labels in dataloaders[phase]:
                inputs = inputs.to(device)
                labels = labels.to(device)
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    outputs = model(inputs)
                    _, preds = torch.max(outputs, 1)
                    loss = criterion(outputs, labels)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
                running_loss += loss.item() * inputs.size(0)
                running_corrects += torch.sum(preds == labels).item()

            size = len(dataloaders[phase].dataset)
            epoch_loss, epoch_acc = running_loss / size, running_corrects / size
            print(f"{phase} Loss: {epoch_loss:.4f} Acc: {epoch_acc:.4f}")
            if phase == "val" and epoch_acc > best_acc:
                best_acc = epoch_acc
                torch.save(model.state_dict(), out)
    model.load_state_dict(torch.load(out, map_location=device, weights_only=True))
    return model


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataloaders, classes = make_loaders(Path("data/hymenoptera"), batch_size=32)
    model = build_model(len(classes)).to(device)
    criterion = nn.CrossEntropyLoss()
    out = Path("best_head.pt")

    # 1. only the new head
    optimizer = torch.optim.SGD(model.fc.parameters(), lr=1e-2, momentum=0.9)
    model = train_model(model, dataloaders, criterion, optimizer, device, 5, out)

    # 2. the last stage too, with a smaller rate
    for param in model.layer4.parameters():
        param.requires_grad = True
    optimizer = torch.optim.SGD(
        [
            {"params": model.layer4.parameters(), "lr": 1e-4},
            {"params": model.fc.parameters(), "lr": 1e-3},
        ],
        momentum=0.9,
    )
    train_model(model, dataloaders, criterion, optimizer, device, 10, Path("best_all.pt"))


if __name__ == "__main__":
    main()
