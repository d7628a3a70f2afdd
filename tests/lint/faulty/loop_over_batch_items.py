# fault: 12 [python-loop-over-batch] the model is called once per example of the batch in a Python loop
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def train_epoch(model, loader, loss_fn, optimizer, device):
    model.train()
    for xb, yb in loader:
        xb, yb = xb.to(device), yb.to(device)
        outputs = []
        for i in range(xb.size(0)):
            outputs.append(model(xb[i].unsqueeze(0)))
        loss = loss_fn(torch.cat(outputs), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(200, 12)
    y = x[:, :3].argmax(dim=1)
    loader = DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True)
    model = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 3)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(2):
        print(epoch, train_epoch(model, loader, nn.CrossEntropyLoss(), optimizer, device))


if __name__ == "__main__":
    main()
