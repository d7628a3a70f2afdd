# fault: 25 [optimizer-before-to] the optimizer is made before the model moves to the device
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.layers(x)


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(512, 10)
    loader = DataLoader(
        TensorDataset(x, x.mean(dim=1, keepdim=True)), batch_size=32, shuffle=True
    )
    model = Net()
    optimizer = torch.optim.Adagrad(model.parameters(), lr=1e-2)
    model = model.to(device)
    loss_fn = nn.SmoothL1Loss()

    model.train()
    for epoch in range(3):
        for xb, yb in loader:
            xb, yb = xb.to(device), yb.to(device)
            optimizer.zero_grad()
            loss = loss_fn(model(xb), yb)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())


if __name__ == "__main__":
    main()
