"""Rules on averages over batches."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

TOP = """
import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader
"""
HEAD = (
    TOP
    + """
@torch.no_grad()
def evaluate(model, val_loader, criterion, device="cpu"):
    model.eval()
"""
)

MEANS = [
    HEAD
    + """
    val_loss = 0
    for x, y in val_loader:
        loss = criterion(model(x), y)
        val_loss += loss.item()
    val_loss /= len(val_loader)
    return val_loss
""",
    HEAD
    + """
    losses = []
    for x, y in val_loader:
        losses.append(F.mse_loss(model(x), y).item())
    return np.mean(losses)
""",
    HEAD
    + """
    total, batches = 0.0, 0
    for batch in val_loader:
        total += F.cross_entropy(model(batch["x"]), batch["y"]).item()
        batches += 1
    return {"loss": total / batches}
""",
    HEAD
    + """
    accuracy = 0.0
    for x, y in val_loader:
        accuracy += (model(x).argmax(1) == y).float().mean().item()
    return 100 * accuracy / len(val_loader)
""",
    HEAD
    + """
    size, num_batches = len(val_loader.dataset), len(val_loader)
    test_loss, correct = 0, 0
    for X, y in val_loader:
        pred = model(X)
        test_loss += criterion(pred, y).item()
        correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    test_loss /= num_batches
    correct /= size
    return test_loss, correct
""",
    TOP
    + """
class Trainer:
    def __init__(self, model, val_loader):
        self.model, self.val_loader = model, val_loader
        self.criterion = nn.CrossEntropyLoss()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        losses = []
        for x, y in self.val_loader:
            losses.append(self.criterion(self.model(x), y).item())
        return sum(losses) / len(losses)
""",
]
MEANS_ARE_RIGHT = [
    HEAD
    + """
    total = 0.0
    for x, y in val_loader:
        total += criterion(model(x), y).item()
    return total / len(val_loader.dataset) * val_loader.batch_size
""",
    HEAD
    + """
    total = 0.0
    for x, y in val_loader:
        total += criterion(model(x), y).item() * x.size(0)
    return total / len(val_loader.dataset)
""",
    HEAD
    + """
    total, seen = 0.0, 0
    for x, y in val_loader:
        n = y.shape[0]
        total += n * criterion(model(x), y).item()
        seen += n
    return total / seen
""",
    TOP
    + """
@torch.no_grad()
def main(model, train_set):
    val_loader = DataLoader(train_set, batch_size=8, drop_last=True)
    model.eval()
    total = 0.0
    for x, y in val_loader:
        total += F.cross_entropy(model(x), y).item()
    return total / len(val_loader)
""",
    TOP
    + """
@torch.no_grad()
def main(model):
    x, y = torch.randn(640, 4), torch.randint(0, 3, (640,))
    val_loader = DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=64)
    model.eval()
    total = 0.0
    for x, y in val_loader:
        total += F.cross_entropy(model(x), y).item()
    return total / len(val_loader)
""",
    HEAD
    + """
    losses = []
    for x, y in val_loader:
        losses.append(F.cross_entropy(model(x), y, reduction="none"))
    return torch.cat(losses).mean()
""",
    HEAD
    + """
    losses = 0.0
    for x, y in val_loader:
        losses += F.cross_entropy(model(x), y, reduction="sum").item()
    return losses / len(val_loader.dataset)
""",
]
BY_EXAMPLES = [
    HEAD
    + """
    test_loss = 0
    for data, target in val_loader:
        test_loss += F.nll_loss(model(data), target).item()
    test_loss /= len(val_loader.dataset)
    return test_loss
""",
    HEAD
    + """
    total, seen = 0.0, 0
    for x, y in val_loader:
        loss = criterion(model(x), y)
        total += loss.item()
        seen += x.size(0)
    return total / seen
""",
    HEAD
    + """
    size = len(val_loader.dataset)
    total = 0.0
    for x, y in val_loader:
        total += float(nn.functional.l1_loss(model(x), y))
    return total / size
""",
    TOP
    + """
def train_epoch(model, train_loader, optimizer):
    criterion = nn.CrossEntropyLoss()
    model.train()
    running_loss = 0.0
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
    return running_loss / len(train_loader.dataset)
""",
    HEAD
    + """
    accuracy = 0.0
    for x, y in val_loader:
        accuracy += (model(x).argmax(1) == y).float().mean().item()
    return accuracy / len(val_loader.dataset)
""",
]
COUNTS = [
    HEAD
    + """
    correct = 0
    for x, y in val_loader:
        correct += (model(x).argmax(1) == y).sum().item()
    return 100.0 * correct / len(val_loader)
""",
    HEAD
    + """
    total = 0.0
    for x, y in val_loader:
        total += criterion(model(x), y).item() * len(x)
    return total / len(val_loader)
""",
    HEAD
    + """
    correct = 0
    for x, y in val_loader:
        pred = model(x).argmax(1)
        correct += pred.eq(y.view_as(pred)).sum().item()
    accuracy = correct / len(val_loader)
    return accuracy
""",
    HEAD
    + """
    correct, n = 0, len(val_loader)
    for x, y in val_loader:
        correct += torch.sum(model(x).argmax(1) == y).item()
    correct /= n
    return correct
""",
    TOP
    + """
def train_epoch(model, train_loader, optimizer):
    model.train()
    hits = 0
    for i, (x, y) in enumerate(train_loader):
        optimizer.zero_grad()
        out = model(x)
        F.cross_entropy(out, y).backward()
        optimizer.step()
        hits += int((out.argmax(1) == y).sum())
    return hits / (i + 1)
""",
]
COUNTS_ARE_RIGHT = [
    HEAD
    + """
    correct = total = 0
    for x, y in val_loader:
        correct += (model(x).argmax(1) == y).sum().item()
        total += y.size(0)
    return correct / total
""",
    HEAD
    + """
    correct = 0
    for x, y in val_loader:
        correct += (model(x).argmax(1) == y).sum().item()
    return correct / (len(val_loader) * val_loader.batch_size)
""",
    TOP
    + """
@torch.no_grad()
def evaluate(model, val_set):
    val_loader = DataLoader(val_set)
    model.eval()
    correct = 0
    for x, y in val_loader:
        correct += (model(x).argmax(1) == y).sum().item()
    return correct / len(val_loader)
""",
    HEAD
    + """
    best = 0
    for x, y in val_loader:
        best = max(best, (model(x).argmax(1) == y).sum().item())
    return best / len(val_loader)
""",
    HEAD
    + """
    correct = 0
    for x, y in val_loader:
        correct += (model(x).argmax(1) == y).sum().item()
    print("right per batch", correct // len(val_loader))
""",
]


@pytest.mark.parametrize("text", MEANS)
def test_a_mean_of_means_is_found(text: str) -> None:
    (finding,) = found_in(text)
    assert (finding.rule, finding.severity) == ("mean-of-batch-means", "warning")


def test_of_a_training_loop_it_is_a_hint() -> None:
    text = BY_EXAMPLES[3].replace("len(train_loader.dataset)", "len(train_loader)")
    (finding,) = found_in(text)
    assert (finding.rule, finding.severity) == ("mean-of-batch-means", "hint")


@pytest.mark.parametrize("text", BY_EXAMPLES)
def test_means_divided_by_examples_are_found(text: str) -> None:
    assert rules_in(text) == ["mean-divided-by-examples"]


@pytest.mark.parametrize("text", COUNTS)
def test_counts_divided_by_batches_are_found(text: str) -> None:
    assert rules_in(text) == ["count-divided-by-batches"]


@pytest.mark.parametrize("text", MEANS_ARE_RIGHT + COUNTS_ARE_RIGHT)
def test_right_averages_are_silent(text: str) -> None:
    assert rules_in(text) == []


def test_of_two_on_one_line_the_certain_one_is_told() -> None:
    text = (
        TOP
        + """
def run(model, optimizer, criterion, train_loader, val_loader, epochs):
    for epoch in range(epochs):
        model.train()
        total, held = 0.0, 0.0
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item()
        model.eval()
        with torch.no_grad():
            for x, y in val_loader:
                held += criterion(model(x), y).item()
        print(total / len(train_loader), held / len(val_loader))
"""
    )
    (found,) = found_in(text)
    assert (found.rule, found.severity) == ("mean-of-batch-means", "warning")


def test_programs_of_other_frameworks_are_left_alone() -> None:
    text = """
from mxnet import gluon

def score(net, test_loader, metric):
    for x, y in test_loader:
        metric.update(y, net(x))
    return metric.get()
"""
    assert rules_in(text) == []
    assert rules_in(text.replace("mxnet import gluon", "mine import gluon")) != []
