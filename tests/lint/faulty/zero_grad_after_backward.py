# fault: 15 [zero-grad-after-backward] zero_grad between backward and step: every step sees zero gradients
import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset


def train_one_epoch(net, dl, crit, optimizer, dev):
    net.train()
    running, n = 0.0, 0
    for inputs, targets in dl:
        inputs, targets = inputs.to(dev), targets.to(dev)
        outputs = net(inputs)
        loss = crit(outputs, targets)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        running += loss.item() * targets.size(0)
        n += targets.size(0)
    return running / n


def main():
    torch.manual_seed(0)
    dev = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(1000, 20)
    y = (x.sum(dim=1) > 0).long()
    dl = DataLoader(TensorDataset(x, y), batch_size=100, shuffle=True)
    net = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 2)).to(dev)
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(5):
        print(epoch, train_one_epoch(net, dl, nn.CrossEntropyLoss(), optimizer, dev))


if __name__ == "__main__":
    main()
