"""Rules on lines that stand one step too far to the right."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

HEAD = """
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

@torch.no_grad()
def evaluate(model, val_loader, val_set):
    model.eval()
"""

INSIDE = [
    HEAD
    + """
    total = 0.0
    for x, y in val_loader:
        total += F.cross_entropy(model(x), y).item() * len(x)
        total /= len(val_loader.dataset)
    return total
""",
    HEAD
    + """
    correct = 0
    for x, y in val_loader:
        correct += (model(x).argmax(1) == y).sum().item()
        accuracy = 100 * correct / len(val_loader.dataset)
    print(accuracy)
""",
    HEAD
    + """
    total, history = 0.0, []
    for x, y in val_loader:
        total += F.cross_entropy(model(x), y).item() * len(x)
        history.append(total / len(val_loader.dataset))
    return history
""",
    # the listing of the course, at module level
    """
import torch
from torch import nn
from torch.utils.data import DataLoader
from mine import MyModel, MyDataset, device
dv_set = DataLoader(MyDataset("valid"), 16)
model = MyModel().to(device)
criterion = nn.MSELoss()
model.eval()
total_loss = 0
for x, y in dv_set:
    x, y = x.to(device), y.to(device)
    with torch.no_grad():
        pred = model(x)
        loss = criterion(pred, y)
    total_loss += loss.cpu().item() * len(x)
    avg_loss = total_loss / len(dv_set.dataset)
print(avg_loss)
""",
    """
import torch
from torch import nn

def train(model, train_loader, optimizer, criterion):
    model.train()
    running = 0.0
    for inputs, labels in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        running += loss.item() * inputs.size(0)
        epoch_loss = running / len(train_loader.dataset)
    return epoch_loss
""",
]
OUTSIDE = [
    HEAD
    + """
    total, seen = 0.0, 0
    for x, y in val_loader:
        total += F.cross_entropy(model(x), y).item() * len(x)
        seen += len(x)
        average = total / seen
        print(average)
    return average
""",
    HEAD
    + """
    total = 0.0
    for i, (x, y) in enumerate(val_loader):
        total += F.cross_entropy(model(x), y).item()
        print(total / (i + 1))
""",
    HEAD
    + """
    total = 0.0
    for x, y in val_loader:
        total += F.cross_entropy(model(x), y, reduction="sum").item() / len(val_loader.dataset)
    return total
""",
    """
import torch
import torch.nn.functional as F

def train(model, train_loader, optimizer):
    model.train()
    running = 0.0
    for i, (x, y) in enumerate(train_loader):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        running += loss.item()
        if i % 100 == 99:
            print(running / 100)
            running = 0.0
""",
    HEAD
    + """
    results = []
    for fold in range(3):
        correct = 0
        for x, y in val_loader:
            correct += (model(x).argmax(1) == y).sum().item()
        results.append(correct / len(val_loader.dataset))
    return results
""",
]
RETURNS = [
    HEAD
    + """
    total = 0.0
    for x, y in val_loader:
        total += F.cross_entropy(model(x), y).item() * len(x)
        return total / len(val_loader.dataset)
""",
    HEAD
    + """
    found = []
    for x, _ in val_loader:
        found.append(model(x).argmax(dim=1))
        return torch.cat(found)
""",
    HEAD
    + """
    right, seen = 0, 0
    for x, y in val_loader:
        right += (model(x).argmax(1) == y).sum().item()
        seen += len(x)
        accuracy = right / seen
        return accuracy
""",
    """
import torch
import torch.nn.functional as F

def train(model, train_loader, optimizer):
    model.train()
    losses = []
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        return losses
""",
    """
import torch

class Tester:
    def __init__(self, model, test_loader):
        self.model, self.test_loader = model, test_loader

    @torch.no_grad()
    def test(self):
        self.model.eval()
        hits = 0
        for x, y in self.test_loader:
            hits += (self.model(x).argmax(1) == y).sum().item()
            return {"accuracy": hits / len(self.test_loader.dataset)}
""",
]
ENDS = [
    HEAD
    + """
    for x, y in val_loader:
        return model(x), y
""",
    HEAD
    + """
    seen, found = 0, []
    for x, _ in val_loader:
        found.append(model(x))
        seen += len(x)
        if seen >= 1000:
            return torch.cat(found)
    return torch.cat(found)
""",
    HEAD
    + """
    for x, y in val_loader:
        right = 0
        right += (model(x).argmax(1) == y).sum().item()
        return right
""",
    HEAD
    + """
    def one(batch):
        return model(batch)
    found = []
    for x, _ in val_loader:
        found.append(one(x))
    return found
""",
    HEAD
    + """
    right = 0
    for x, y in val_loader:
        right += (model(x).argmax(1) == y).sum().item()
    else:
        return right
""",
]


@pytest.mark.parametrize("text", INSIDE)
def test_an_average_inside_the_loop_is_found(text: str) -> None:
    (finding,) = found_in(text)
    assert (finding.rule, finding.severity) == ("average-inside-loop", "warning")


@pytest.mark.parametrize("text", RETURNS)
def test_a_return_inside_the_loop_is_found(text: str) -> None:
    assert rules_in(text) == ["return-inside-loop"]


@pytest.mark.parametrize("text", OUTSIDE + ENDS)
def test_right_indentation_is_silent(text: str) -> None:
    assert [rule for rule in rules_in(text) if rule != "mean-of-batch-means"] == []
