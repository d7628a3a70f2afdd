# fault: 20 [mean-of-batch-means] batch accuracies are averaged with equal weight, the last batch has 97 of 200
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Evaluator:
    def __init__(self, model, device):
        self.model, self.device = model, device

    @torch.inference_mode()
    def accuracy(self, loader):
        self.model.eval()
        accs = []
        for x, y in loader:
            pred = self.model(x.to(self.device)).argmax(dim=1)
            accs.append((pred == y.to(self.device)).float().mean().item())
        return np.mean(accs)


def main(epochs=2):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y)
    dl_train = DataLoader(TensorDataset(X[:1300], y[:1300]), batch_size=50, shuffle=True)
    dl_test = DataLoader(TensorDataset(X[1300:], y[1300:]), batch_size=200)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).to(device)
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    loss_fn = nn.CrossEntropyLoss()
    evaluator = Evaluator(net, device)
    for _ in range(epochs):
        net.train()
        for xb, yb in dl_train:
            opt.zero_grad()
            loss_fn(net(xb.to(device)), yb.to(device)).backward()
            opt.step()
        print("accuracy", evaluator.accuracy(dl_test))


if __name__ == "__main__":
    main()
