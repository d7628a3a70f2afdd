# fault: 26 [layer-replaced-after-optimizer] the classifier is replaced after the optimizer was made, the new layer is never updated
import torch
import torch.nn as nn
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms


def get_loader(root, batch_size):
    tfm = transforms.Compose([
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    ds = datasets.ImageFolder(root, tfm)
    return DataLoader(ds, batch_size=batch_size, shuffle=True, num_workers=4), len(ds.classes)


def main(root="data/flowers/train", epochs=3):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader, n_classes = get_loader(root, 32)

    model = models.resnet18(weights="IMAGENET1K_V1").to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    model.fc = nn.Linear(model.fc.in_features, n_classes).to(device)
    criterion = nn.CrossEntropyLoss()

    for epoch in range(epochs):
        model.train()
        total = 0.0
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * images.size(0)
        print(epoch, total / len(loader.dataset))
    torch.save(model.state_dict(), "flowers.pt")


if __name__ == "__main__":
    main()
