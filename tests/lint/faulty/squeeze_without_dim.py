# fault: 13 [squeeze-without-dim] squeeze() also drops the batch dimension of a last batch of one
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Regressor(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x):
        return self.net(x).squeeze()


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(201, 4)
    y = x[:, 0] - x[:, 1]
    loader = DataLoader(TensorDataset(x, y), batch_size=50)
    model = Regressor(4).to(device).eval()
    outputs = []
    with torch.inference_mode():
        for xb, _ in loader:
            outputs.append(model(xb.to(device)).cpu())
    pred = torch.cat(outputs)
    print("mse", ((pred - y) ** 2).mean().item())


if __name__ == "__main__":
    main()
