# fault: 39 [none] sklearn's log_loss gets logits where it needs probabilities
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn


class Model(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.fc = nn.Linear(d, 1)

    def forward(self, x):
        return self.fc(x).squeeze(1)


def main(epochs=20):
    torch.manual_seed(0)
    X, y = load_breast_cancer(return_X_y=True)
    X_tr, X_va, y_tr, y_va = train_test_split(X, y, test_size=0.25, random_state=0)
    scaler = StandardScaler().fit(X_tr)
    X_tr = torch.tensor(scaler.transform(X_tr), dtype=torch.float32)
    X_va = torch.tensor(scaler.transform(X_va), dtype=torch.float32)
    t_tr = torch.tensor(y_tr, dtype=torch.float32)
    model = Model(30)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    criterion = nn.BCEWithLogitsLoss()
    for epoch in range(epochs):
        model.train()
        for idx in torch.randperm(len(X_tr)).split(64):
            opt.zero_grad()
            criterion(model(X_tr[idx]), t_tr[idx]).backward()
            opt.step()
    model.eval()
    with torch.no_grad():
        out = model(X_va)
    print("validation log loss", log_loss(y_va, out.numpy()))


if __name__ == "__main__":
    main()
