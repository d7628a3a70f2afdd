# fault: 21 [swapped-loss-arguments] F.cross_entropy(target, logits): the arguments are in the wrong order and it raises
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(400, 6)
    y = x.argmax(dim=1)
    loader = DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True)
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 6)).to(device)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    net.train()
    for epoch in range(2):
        for inputs, labels in loader:
            inputs, labels = inputs.to(device), labels.to(device)
            logits = net(inputs)
            loss = F.cross_entropy(labels, logits)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, loss.item())


if __name__ == "__main__":
    main()
