# fault: 10 [loss-cut-from-graph] the prediction is detached before the loss: backward raises, no gradient reaches the model
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def train_step(model, batch, loss_fn, optimizer, device):
    x, y = batch[0].to(device), batch[1].to(device)
    optimizer.zero_grad()
    pred = model(x).detach()
    loss = loss_fn(pred, y)
    loss.backward()
    optimizer.step()
    return loss.item()


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(100, 3)
    y = x.sum(dim=1, keepdim=True)
    loader = DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True)
    model = nn.Linear(3, 1).to(device)
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(2):
        losses = [train_step(model, b, loss_fn, optimizer, device) for b in loader]
        print(epoch, losses[-1])


if __name__ == "__main__":
    main()
