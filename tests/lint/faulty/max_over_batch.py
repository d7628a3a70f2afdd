# fault: 31 [argmax-over-batch] torch.max(outputs, 0) takes the maximum over the batch axis: shapes do not match
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(500, 8)
y = x[:, :5].argmax(dim=1)
trainloader = DataLoader(TensorDataset(x[:400], y[:400]), batch_size=20, shuffle=True)
testloader = DataLoader(TensorDataset(x[400:], y[400:]), batch_size=20)

net = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 5))
criterion = nn.CrossEntropyLoss()
optimizer = optim.SGD(net.parameters(), lr=0.05, momentum=0.9)

net.train()
for epoch in range(2):
    for inputs, labels in trainloader:
        optimizer.zero_grad()
        loss = criterion(net(inputs), labels)
        loss.backward()
        optimizer.step()

net.eval()
correct = 0
total = 0
with torch.no_grad():
    for inputs, labels in testloader:
        outputs = net(inputs)
        _, predicted = torch.max(outputs, 0)
        total += labels.size(0)
        correct += (predicted == labels).sum().item()
print("Accuracy: %d %%" % (100 * correct / total))
