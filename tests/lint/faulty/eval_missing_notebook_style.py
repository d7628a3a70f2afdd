# fault: 35 [missing-eval] the test predictions are made with dropout still active
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

torch.manual_seed(0)

# %% data
X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
scaler = StandardScaler().fit(X_train)
X_train = torch.tensor(scaler.transform(X_train), dtype=torch.float32)
X_test = torch.tensor(scaler.transform(X_test), dtype=torch.float32)
y_train = torch.tensor(y_train, dtype=torch.float32)

# %% model
clf = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1))
bce = nn.BCEWithLogitsLoss()
adam = torch.optim.Adam(clf.parameters(), lr=1e-3)

# %% training
clf.train()
for epoch in range(20):
    for idx in torch.randperm(len(X_train)).split(32):
        adam.zero_grad()
        loss = bce(clf(X_train[idx]).squeeze(1), y_train[idx])
        loss.backward()
        adam.step()

# %% test
with torch.no_grad():
    scores = clf(X_test).squeeze(1)
print("AUC", roc_auc_score(y_test, scores.numpy()))
