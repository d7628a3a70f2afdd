# fault: 14 [softmax-before-cross-entropy] the head returns probabilities, the Trainer's cross entropy applies softmax again
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Head(nn.Module):
    def __init__(self, d, k):
        super().__init__()
        self.proj = nn.Linear(d, k)

    def forward(self, h):
        return F.softmax(self.proj(h), dim=-1)


class Classifier(nn.Module):
    def __init__(self, d_in, d, k):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(d_in, d), nn.GELU())
        self.head = Head(d, k)

    def forward(self, x):
        return self.head(self.encoder(x))


class Trainer:
    def __init__(self, model, lr=1e-2):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.criterion = nn.CrossEntropyLoss()
        self.opt = torch.optim.Adam(self.model.parameters(), lr=lr)

    def fit(self, loader, epochs):
        self.model.train()
        for _ in range(epochs):
            for xb, yb in loader:
                xb, yb = xb.to(self.device), yb.to(self.device)
                self.opt.zero_grad()
                loss = self.criterion(self.model(xb), yb)
                loss.backward()
                self.opt.step()
            print(loss.item())


if __name__ == "__main__":
    torch.manual_seed(0)
    x = torch.randn(300, 10)
    data = TensorDataset(x, x[:, :3].argmax(dim=1))
    Trainer(Classifier(10, 32, 3)).fit(DataLoader(data, batch_size=30, shuffle=True), 3)
