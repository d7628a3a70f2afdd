# fault: 17 [one-hot-for-index-loss] one-hot targets for nll_loss, which wants class indices: RuntimeError
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

NUM_CLASSES = 4


def train(model, loader, optimizer, device):
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        log_probs = F.log_softmax(model(x), dim=1)
        target = F.one_hot(y, NUM_CLASSES)
        loss = F.nll_loss(log_probs, target)
        loss.backward()
        optimizer.step()
    return loss.item()


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(200, NUM_CLASSES)
    loader = DataLoader(TensorDataset(x, x.argmin(dim=1)), batch_size=20, shuffle=True)
    model = nn.Linear(NUM_CLASSES, NUM_CLASSES).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        print(epoch, train(model, loader, optimizer, device))


if __name__ == "__main__":
    main()
