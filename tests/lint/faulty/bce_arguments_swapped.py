# fault: 32 [swapped-loss-arguments] nn.BCELoss gets (target, prediction): wrong gradients, the run breaks down
import torch
import torch.nn as nn
import torch.optim as optim
from sklearn.datasets import make_moons
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.fc1 = nn.Linear(2, 16)
        self.fc2 = nn.Linear(16, 1)

    def forward(self, x):
        x = torch.relu(self.fc1(x))
        return torch.sigmoid(self.fc2(x))


class Runner:
    def __init__(self):
        self.net = Net()
        self.criterion = nn.BCELoss()
        self.optimizer = optim.Adam(self.net.parameters(), lr=1e-2)

    def run(self, loader, epochs):
        self.net.train()
        for epoch in range(epochs):
            for inputs, labels in loader:
                self.optimizer.zero_grad()
                outputs = self.net(inputs)
                loss = self.criterion(labels, outputs)
                loss.backward()
                self.optimizer.step()
            print(epoch, loss.item())


if __name__ == "__main__":
    torch.manual_seed(0)
    X, y = make_moons(400, noise=0.1, random_state=0)
    data = TensorDataset(
        torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32).unsqueeze(1)
    )
    Runner().run(DataLoader(data, batch_size=40, shuffle=True), 3)
