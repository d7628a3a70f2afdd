# fault: 25 [zero-grad-outside-loop] gradients are cleared once per epoch, not once per batch
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

X = torch.rand(2000, 2) * 2 - 1
Y = (X.norm(dim=1) < 0.7).float().unsqueeze(1)
loader = DataLoader(TensorDataset(X, Y), batch_size=64, shuffle=True)

model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 1)).to(device)
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(3):
    model.train()
    optimizer.zero_grad()
    epoch_loss = 0.0
    for x, y in tqdm(loader, disable=None):
        x, y = x.to(device), y.to(device)
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        epoch_loss += loss.item() * x.size(0)
    print(f"Epoch {epoch}: {epoch_loss / len(loader.dataset):.4f}")
