# fault: 30 [forward-called-directly] model.forward(x) skips the hook that is registered on the model
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

activations = {}


def save_activation(name):
    def hook(module, inputs, output):
        activations[name] = output.detach().abs().mean().item()

    return hook


def main(epochs=2):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(320, 10)
    loader = DataLoader(TensorDataset(x, x[:, :1]), batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 1)).to(device)
    model.register_forward_hook(save_activation("model"))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-3)
    criterion = nn.MSELoss()
    model.train()
    for epoch in range(epochs):
        for xb, yb in loader:
            xb, yb = xb.to(device), yb.to(device)
            optimizer.zero_grad()
            pred = model.forward(xb)
            loss = criterion(pred, yb)
            loss.backward()
            optimizer.step()
        print(epoch, loss.item(), activations)


if __name__ == "__main__":
    main()
