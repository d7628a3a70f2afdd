# fault: 11 [worker-seeding] the Generator made in __init__ is copied to every worker: all draw the same noise
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoisySines(Dataset):
    def __init__(self, n, seed=0):
        self.n = n
        self.rng = np.random.default_rng(seed)
        self.t = np.linspace(0, 6.28, 32)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        freq = 1 + i % 3
        wave = np.sin(freq * self.t) + self.rng.normal(0, 0.3, 32)
        return torch.tensor(wave, dtype=torch.float32), freq - 1


def main(epochs=1, workers=2):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loader = DataLoader(NoisySines(256), batch_size=32, shuffle=True, num_workers=workers)
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    criterion = nn.CrossEntropyLoss()
    model.train()
    for epoch in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
        print(epoch, loss.item())


if __name__ == "__main__":
    main()
