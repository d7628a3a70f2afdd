# fault: 29 [train-never-restored] validation every 20 steps calls eval() and training goes on in evaluation mode
import itertools

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
x = torch.randn(1500, 8)
y = torch.sin(x).sum(dim=1, keepdim=True)
train_dl = DataLoader(TensorDataset(x[:1200], y[:1200]), batch_size=60, shuffle=True)
val_dl = DataLoader(TensorDataset(x[1200:], y[1200:]), batch_size=100)

net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1)).to(device)
opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
mse = nn.MSELoss()

net.train()
stream = itertools.chain.from_iterable(itertools.repeat(train_dl))
for step, (xb, yb) in enumerate(itertools.islice(stream, 100), start=1):
    xb, yb = xb.to(device), yb.to(device)
    opt.zero_grad()
    loss = mse(net(xb), yb)
    loss.backward()
    opt.step()

    if step % 20 == 0:
        net.eval()
        sq = 0.0
        with torch.no_grad():
            for xv, yv in val_dl:
                sq += (net(xv.to(device)) - yv.to(device)).pow(2).sum().item()
        print(step, loss.item(), sq / len(val_dl.dataset))
