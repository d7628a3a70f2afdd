# fault: 15 [metric-on-logits] the model returns logits and predictions are logits > 0.5
import torch
import torch.nn as nn
from sklearn.datasets import make_classification
from sklearn.metrics import f1_score
from torch.utils.data import DataLoader, TensorDataset


def evaluate(model, loader, device):
    model.eval()
    preds, truth = [], []
    with torch.no_grad():
        for x, y in loader:
            logits = model(x.to(device)).squeeze(1)
            preds.append((logits > 0.5).long().cpu())
            truth.append(y.long())
    return f1_score(torch.cat(truth).numpy(), torch.cat(preds).numpy())


def main(epochs=3):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, y = make_classification(1000, 10, weights=[0.8], random_state=0)
    X = torch.tensor(X, dtype=torch.float32)
    y = torch.tensor(y, dtype=torch.float32)
    train_loader = DataLoader(TensorDataset(X[:800], y[:800]), batch_size=40, shuffle=True)
    val_loader = DataLoader(TensorDataset(X[800:], y[800:]), batch_size=100)
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 1)).to(device)
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(epochs):
        model.train()
        for x, y in train_loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            loss = criterion(model(x).squeeze(1), y)
            loss.backward()
            optimizer.step()
        print(epoch, evaluate(model, val_loader, device))


if __name__ == "__main__":
    main()
