# fault: 15 [softmax-over-batch] class probabilities are normalised over the batch (dim=0)
import torch
import torch.nn.functional as F
from sklearn.datasets import load_iris
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@torch.no_grad()
def predict_proba(model, loader, device):
    model.eval()
    probs = []
    for x, _ in loader:
        logits = model(x.to(device))
        probs.append(F.softmax(logits, dim=0).cpu())
    return torch.cat(probs)


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = load_iris(return_X_y=True)
    ds = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y))
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 3)).to(device)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for _ in range(5):
        for xb, yb in DataLoader(ds, batch_size=16, shuffle=True):
            opt.zero_grad()
            F.cross_entropy(model(xb.to(device)), yb.to(device)).backward()
            opt.step()
    probs = predict_proba(model, DataLoader(ds, batch_size=50), device)
    print("rows sum to", probs.sum(dim=1)[:5].tolist())


if __name__ == "__main__":
    main()
