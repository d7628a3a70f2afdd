# Homework 3: classify handwritten digits with a small MLP
import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(42)
np.random.seed(42)

BATCH_SIZE = 64
EPOCHS = 5
LR = 1e-3

# ------------------------------------------------------------------ data
X, y = load_digits(return_X_y=True)
X = X.astype(np.float32) / 16.0

X_train, X_rest, y_train, y_rest = train_test_split(
    X, y, test_size=0.3, random_state=0, stratify=y
)
X_val, X_test, y_val, y_test = train_test_split(
    X_rest, y_rest, test_size=0.5, random_state=0, stratify=y_rest
)

train_set = TensorDataset(torch.from_numpy(X_train), torch.from_numpy(y_train).long())
val_set = TensorDataset(torch.from_numpy(X_val), torch.from_numpy(y_val).long())
test_set = TensorDataset(torch.from_numpy(X_test), torch.from_numpy(y_test).long())

train_loader = DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True)
val_loader = DataLoader(val_set, batch_size=BATCH_SIZE)
test_loader = DataLoader(test_set, batch_size=BATCH_SIZE)

# ------------------------------------------------------------------ model
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

model = nn.Sequential(
    nn.Linear(64, 128),
    nn.ReLU(),
    nn.Dropout(0.2),
    nn.Linear(128, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
).to(device)

criterion = nn.CrossEntropyLoss()
optimizer = optim.Adam(model.parameters(), lr=LR)

# ------------------------------------------------------------------ training
for epoch in range(EPOCHS):
    model.train()
    running_loss = 0.0
    seen = 0
    for inputs, labels in train_loader:
        inputs, labels = inputs.to(device), labels.to(device)

        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, labels)
        loss.backward()
        optimizer.step()

        running_loss += loss.item() * inputs.size(0)
        seen += inputs.size(0)

    model.eval()
    correct = 0
    total = 0
    with torch.no_grad():
        for inputs, labels in val_loader:
            inputs, labels = inputs.to(device), labels.to(device)
            outputs = model(inputs)
            _, predicted = torch.max(outputs, 1)
            total += labels.size(0)
            correct += (predicted == labels).sum().item()

    print(
        "Epoch %d: train loss %.4f, val accuracy %.2f%%"
        % (epoch + 1, running_loss / seen, 100 * correct / total)
    )

# ------------------------------------------------------------------ final test
model.eval()
confusion = np.zeros((10, 10), dtype=int)
with torch.no_grad():
    for inputs, labels in test_loader:
        predicted = model(inputs.to(device)).argmax(dim=1).cpu()
        for t, p in zip(labels.tolist(), predicted.tolist()):
            confusion[t, p] += 1

print("Test accuracy: %.2f%%" % (100 * np.trace(confusion) / confusion.sum()))
print(confusion)

torch.save(model.state_dict(), "/tmp/digits_mlp.pt")
