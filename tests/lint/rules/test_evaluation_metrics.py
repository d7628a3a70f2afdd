"""Rules on what metrics are given."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in

TOP = """
import torch
from torch import nn
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, roc_auc_score
from torch.utils.data import DataLoader
"""
HEAD = (
    TOP
    + """
@torch.no_grad()
def evaluate(model, val_loader):
    model.eval()
    right = 0
    for x, y in val_loader:
"""
)
LINEAR = (
    TOP
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 1)

    def forward(self, x):
        return self.fc(x)

class Probable(Net):
    def forward(self, x):
        return torch.sigmoid(self.fc(x))
"""
)

OVER_BATCH = [
    HEAD + "        pred = model(x).argmax(dim=0)\n"
    "        right += sum(int(p) == int(t) for p, t in zip(pred.cpu(), y))\n",
    HEAD + "        right += (torch.argmax(model(x), 0) == y).sum().item()\n",
    HEAD + "        out = model(x)\n        _, pred = torch.max(out, 0)\n"
    "        right += (pred == y).sum().item()\n",
    HEAD + "        _, pred = torch.max(model(x).detach(), dim=0)\n"
    "        right += pred.eq(y).sum().item()\n",
    HEAD + "        pred = model(x).max(0)[1]\n        right += (pred == y).sum().item()\n",
    TOP
    + """
@torch.no_grad()
def main(model, data):
    test_loader = DataLoader(data, batch_size=64)
    model.eval()
    right = 0
    for x, y in test_loader:
        right += (model(x).argmax() == y).sum().item()
""",
    TOP
    + """
def train(model, train_loader, optimizer):
    model.train()
    right = 0
    for x, y in train_loader:
        optimizer.zero_grad()
        out = model(x)
        F.cross_entropy(out, y).backward()
        optimizer.step()
        right += (out.argmax(axis=0) == y).sum().item()
""",
]
OVER_CLASSES = [
    HEAD + "        right += (model(x).argmax(-1) == y).sum().item()\n",
    HEAD + "        _, pred = torch.max(model(x), 1)\n        right += (pred == y).sum().item()\n",
    HEAD + "        out = model(x)\n        right += int(out[0].argmax(0) == y[0])\n",
    HEAD + "        first = model(x)[0]\n        right += int(first.argmax() == y[0])\n",
    TOP
    + """
@torch.no_grad()
def main(model, data):
    test_loader = DataLoader(data, batch_size=1)
    model.eval()
    right = 0
    for x, y in test_loader:
        right += int(model(x).argmax() == y)
""",
    HEAD + "        best = model(x).max(0)[0]\n        print(best)\n",
]
BINARY = """
def train(train_loader):
    model = {model}()
    criterion = {loss}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    right = 0
    for x, y in train_loader:
        optimizer.zero_grad()
        out = model(x).squeeze(1)
        criterion(out, y).backward()
        optimizer.step()
        right += ({test}).sum().item()
"""
LOGITS = "nn.BCEWithLogitsLoss()"
ON_LOGITS = [
    LINEAR + BINARY.format(model="Net", loss=LOGITS, test="(out > 0.5).float() == y"),
    LINEAR + BINARY.format(model="Net", loss=LOGITS, test="torch.round(out) == y"),
    LINEAR + BINARY.format(model="Net", loss=LOGITS, test="out.round() == y"),
    LINEAR + BINARY.format(model="Net", loss=LOGITS, test="(out >= 0.5).eq(y.bool())"),
    LINEAR
    + """
def evaluate(test_loader):
    model = Net()
    model.eval()
    found = []
    with torch.no_grad():
        for x, y in test_loader:
            logits = model(x)
            found.append(accuracy_score(y, logits))
    print(found)
""",
    LINEAR
    + """
@torch.no_grad()
def evaluate(test_loader):
    model = Net()
    model.eval()
    right = 0
    for x, labels in test_loader:
        outputs = model(x)
        right += (outputs == labels).sum().item()
    print(right)
""",
]
ON_CLASSES = [
    LINEAR + BINARY.format(model="Net", loss=LOGITS, test="(out > 0).float() == y"),
    LINEAR + BINARY.format(model="Net", loss=LOGITS, test="(torch.sigmoid(out) > 0.5) == y"),
    LINEAR + BINARY.format(model="Net", loss=LOGITS, test="out.sigmoid().round() == y"),
    LINEAR + BINARY.format(model="Probable", loss="nn.BCELoss()", test="(out > 0.5) == y"),
    LINEAR + BINARY.format(model="Net", loss="nn.MSELoss()", test="(out > 0.5) == y"),
    LINEAR
    + """
def evaluate(test_loader):
    model = Net()
    model.eval()
    with torch.no_grad():
        for x, y in test_loader:
            print(roc_auc_score(y, model(x)), accuracy_score(y, model(x) > 0))
""",
]


@pytest.mark.parametrize("text", OVER_BATCH)
def test_an_argmax_over_the_batch_is_found(text: str) -> None:
    assert rules_in(text) == ["argmax-over-batch"]


@pytest.mark.parametrize("text", ON_LOGITS)
def test_a_metric_on_logits_is_found(text: str) -> None:
    assert rules_in(text) == ["metric-on-logits"]


@pytest.mark.parametrize("text", OVER_CLASSES + ON_CLASSES)
def test_right_metrics_are_silent(text: str) -> None:
    assert rules_in(text) == []
