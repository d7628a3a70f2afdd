# fault: 24 [softmax-before-cross-entropy] probabilities instead of logits go into nn.CrossEntropyLoss
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
X, y = load_digits(return_X_y=True)
train_ds = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
train_dl = DataLoader(train_ds, batch_size=64, shuffle=True)

model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
objective = nn.CrossEntropyLoss()
opt = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

model.train()
for epoch in range(3):
    total = 0.0
    for xb, yb in train_dl:
        xb = xb.to(device)
        yb = yb.to(device)
        logits = model(xb)
        probs = torch.softmax(logits, dim=1)
        loss = objective(probs, yb)
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item() * len(xb)
    print(f"epoch {epoch}: {total / len(train_ds):.4f}")

torch.save(model.state_dict(), "/tmp/digits.pt")
