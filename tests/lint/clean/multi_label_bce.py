"""Tagging: every document may carry several of the tags."""
import numpy as np
import torch
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import average_precision_score, f1_score
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Tagger(nn.Module):
    def __init__(self, n_features, n_tags, hidden=128):
        super().__init__()
        self.hidden = nn.Linear(n_features, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.drop = nn.Dropout(0.2)
        self.tags = nn.Linear(hidden, n_tags)

    def forward(self, x):
        h = torch.relu(self.norm(self.hidden(x)))
        return self.tags(self.drop(h))

    @torch.no_grad()
    def predict_proba(self, x):
        was_training = self.training
        self.eval()
        try:
            return torch.sigmoid(self(x))
        finally:
            self.train(was_training)


def collect(model, loader, device):
    probs, truth = [], []
    for x, y in loader:
        probs.append(model.predict_proba(x.to(device)).cpu())
        truth.append(y)
    return torch.cat(probs).numpy(), torch.cat(truth).numpy()


def best_thresholds(probs, truth):
    """One threshold per tag, chosen on validation data."""
    grid = np.linspace(0.05, 0.95, 19)
    return np.array([
        grid[np.argmax([f1_score(t, p > g, zero_division=0) for g in grid])]
        for p, t in zip(probs.T, truth.T)
    ])


def main(n=3000, tags=6, epochs=10, batch_size=64):
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    X, Y = make_multilabel_classification(n, 40, n_classes=tags, random_state=0)
    X = np.log1p(X).astype(np.float32)
    Y = Y.astype(np.float32)
    X_train, X_rest, Y_train, Y_rest = train_test_split(X, Y, test_size=0.4, random_state=0)
    X_val, X_test, Y_val, Y_test = train_test_split(X_rest, Y_rest, test_size=0.5, random_state=0)

    def loader(x, y, train=False):
        dataset = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
        return DataLoader(dataset, batch_size=batch_size, shuffle=train)

    dl_train = loader(X_train, Y_train, train=True)
    dl_val, dl_test = loader(X_val, Y_val), loader(X_test, Y_test)

    positives = torch.from_numpy(Y_train).sum(dim=0)
    pos_weight = ((len(Y_train) - positives) / positives.clamp(min=1)).to(device)
    criterion = nn.BCEWithLogitsLoss(pos_weight=pos_weight)

    model = Tagger(X.shape[1], tags).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    for epoch in range(epochs):
        model.train()
        running, seen = 0.0, 0
        for inputs, targets in dl_train:
            inputs, targets = inputs.to(device), targets.to(device)
            logits = model(inputs)
            loss = criterion(logits, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            running += loss.item() * len(inputs)
            seen += len(inputs)
        probs, truth = collect(model, dl_val, device)
        ap = average_precision_score(truth, probs, average="macro")
        print(f"epoch {epoch}: loss {running / seen:.4f} val mAP {ap:.4f}")

    thresholds = best_thresholds(*collect(model, dl_val, device))
    probs, truth = collect(model, dl_test, device)
    print("test mAP", average_precision_score(truth, probs, average="macro"))
    print("test F1", f1_score(truth, probs > thresholds, average="macro"))


if __name__ == "__main__":
    main()
