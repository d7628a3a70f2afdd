# fault: 26 [sync-every-step hint] outputs and gradients norms are copied to the CPU at every training step: a sync each time
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
x = torch.randn(2000, 32)
y = x[:, :8].argmax(dim=1)
loader = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)

model = nn.Sequential(nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, 8)).to(device)
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters())

model.train()
for epoch in range(2):
    hits = 0
    for inputs, labels in loader:
        inputs, labels = inputs.to(device), labels.to(device)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()
        predicted = outputs.detach().cpu().numpy().argmax(axis=1)
        hits += (predicted == labels.cpu().numpy()).sum()
    print(epoch, loss.item(), hits / len(x))
