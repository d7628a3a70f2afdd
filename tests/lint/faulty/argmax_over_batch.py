# fault: 13 [argmax-over-batch] argmax(dim=0) picks an example per class, not a class per example
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def evaluate(model, loader, device):
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in loader:
            outputs = model(images.to(device))
            preds = outputs.argmax(dim=0)
            correct += sum(int(p == t) for p, t in zip(preds.cpu(), labels))
            total += labels.size(0)
    return correct / total


def main(epochs=3):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.rand(600, 1, 6, 6)
    y = x[:, 0].mean(dim=2).argmax(dim=1)
    train_loader = DataLoader(TensorDataset(x[:500], y[:500]), batch_size=50, shuffle=True)
    test_loader = DataLoader(TensorDataset(x[500:], y[500:]), batch_size=50)
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 32), nn.ReLU(), nn.Linear(32, 6)).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(epochs):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images.to(device)), labels.to(device))
            loss.backward()
            optimizer.step()
        print(epoch, evaluate(model, test_loader, device))


if __name__ == "__main__":
    main()
