# fault: 17 [view-for-permute] view(B, C, H, W) of a (B, H, W, C) batch mixes pixels and channels; permute is meant
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class SmallCNN(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.fc = nn.Linear(16, k)

    def forward(self, x):
        # images come as (batch, height, width, channels)
        B, H, W, C = x.shape
        x = x.view(B, C, H, W)
        x = F.relu(self.conv(x))
        return self.fc(x.mean(dim=(2, 3)))


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = torch.rand(240, 12, 10, 3)
    labels = images.mean(dim=(1, 2)).argmax(dim=1)
    loader = DataLoader(TensorDataset(images, labels), batch_size=24, shuffle=True)
    net = SmallCNN(3).to(device)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    net.train()
    for epoch in range(2):
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            opt.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            opt.step()
        print(epoch, loss.item())


if __name__ == "__main__":
    main()
