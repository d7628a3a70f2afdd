# fault: 35 [loss-cut-from-graph] a new tensor made from loss.item() has no path to the model; the weights never change
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
x = torch.randn(600, 10)
y_cls = (x[:, 0] > 0).long()
y_reg = x[:, 1:2] * 2
loader = DataLoader(TensorDataset(x, y_cls, y_reg), batch_size=50, shuffle=True)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.cls = nn.Linear(32, 2)
        self.reg = nn.Linear(32, 1)

    def forward(self, x):
        h = self.trunk(x)
        return self.cls(h), self.reg(h)


model = TwoHeads().to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
ce, mse = nn.CrossEntropyLoss(), nn.MSELoss()

model.train()
for epoch in range(3):
    for xb, c, r in loader:
        xb, c, r = xb.to(device), c.to(device), r.to(device)
        out_c, out_r = model(xb)
        total = ce(out_c, c).item() + 0.5 * mse(out_r, r).item()
        loss = torch.tensor(total, requires_grad=True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, total)
