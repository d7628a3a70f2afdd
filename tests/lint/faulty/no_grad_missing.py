# fault: 13 [missing-no-grad] the validation loop builds graphs: no torch.no_grad() or inference_mode()
import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


def evaluate(net, loader, loss_fn, device):
    net.eval()
    loss_sum = n = 0
    for x, y in loader:
        out = net(x.to(device))
        loss_sum += loss_fn(out, y.to(device)).item() * len(y)
        n += len(y)
    return loss_sum / n


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=3)
    cfg = p.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(1200, 10)
    y = x[:, :5].argmax(1)
    dl_train = DataLoader(TensorDataset(x[:1000], y[:1000]), 64, shuffle=True)
    dl_valid = DataLoader(TensorDataset(x[1000:], y[1000:]), 128)
    net = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 5)).to(device)
    loss_fn = nn.CrossEntropyLoss()
    opt = torch.optim.Adam(net.parameters())
    for e in range(cfg.epochs):
        net.train()
        for xb, yb in dl_train:
            opt.zero_grad()
            loss = loss_fn(net(xb.to(device)), yb.to(device))
            loss.backward()
            opt.step()
        print(e, evaluate(net, dl_valid, loss_fn, device))


if __name__ == "__main__":
    main()
