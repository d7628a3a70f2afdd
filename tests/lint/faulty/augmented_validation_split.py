# fault: 19 [augmentation-on-validation-split] the validation part is split from the augmented dataset, so it is augmented too
import torch
from torch import nn
from torch.utils.data import DataLoader, random_split
from torchvision import datasets, models
from torchvision.transforms import v2 as T


def get_loaders(root, batch_size):
    augment = T.Compose([
        T.RandomResizedCrop(224),
        T.RandomHorizontalFlip(),
        T.ColorJitter(0.2, 0.2, 0.2),
        T.ToImage(),
        T.ToDtype(torch.float32, scale=True),
        T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ])
    dataset = datasets.ImageFolder(root, transform=augment)
    train_set, val_set = random_split(dataset, [0.9, 0.1])
    return (
        DataLoader(train_set, batch_size, shuffle=True, num_workers=4),
        DataLoader(val_set, batch_size, num_workers=4),
    )


def main(root="data/birds", epochs=5):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader, val_loader = get_loaders(root, 32)
    model = models.resnet18(weights=models.ResNet18_Weights.DEFAULT)
    model.fc = nn.Linear(512, 200)
    model.to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for epoch in range(epochs):
        model.train()
        for x, y in train_loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()
        model.eval()
        hits = 0
        with torch.no_grad():
            for x, y in val_loader:
                hits += (model(x.to(device)).argmax(dim=1) == y.to(device)).sum().item()
        print(epoch, hits / len(val_loader.dataset))


if __name__ == "__main__":
    main()
