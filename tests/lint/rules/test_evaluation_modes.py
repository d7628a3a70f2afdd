"""Rules on eval mode: what is found, and what looks like it and is right."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in

NET = """
import copy
import torch
from torch import nn
import torch.nn.functional as F
from torch.utils.data import DataLoader

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Linear(64, 3)

    def forward(self, x):
        return self.head(self.body(x))
"""
TRAIN = """
def train_one_epoch(model, loader, criterion, optimizer, device):
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
"""

MISSING_EVAL = [
    # called after the epoch, which leaves the model in training mode
    NET
    + TRAIN
    + """
def evaluate(model, loader, device):
    correct = 0
    with torch.no_grad():
        for x, y in loader:
            correct += (model(x.to(device)).argmax(1) == y.to(device)).sum().item()
    return correct / len(loader.dataset)

def main(train_set, val_set, device="cpu"):
    train_loader = DataLoader(train_set, batch_size=32, shuffle=True)
    val_loader = DataLoader(val_set, batch_size=64)
    model = Net().to(device)
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in range(10):
        train_one_epoch(model, train_loader, nn.CrossEntropyLoss(), optimizer, device)
        print(evaluate(model, val_loader, device))
""",
    # straight line: eval() is missing between the two loops
    NET
    + """
def run(train_loader, test_loader):
    net = Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for epoch in range(3):
        net.train()
        for inputs, labels in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), labels).backward()
            optimizer.step()
    hits = 0
    with torch.inference_mode():
        for inputs, labels in test_loader:
            hits += (net(inputs).argmax(-1) == labels).sum().item()
    print(hits / len(test_loader.dataset))
""",
    # a trainer class
    NET
    + """
class Trainer:
    def __init__(self, train_loader, val_loader):
        self.model = Net()
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.train_loader, self.val_loader = train_loader, val_loader

    def train_epoch(self):
        self.model.train()
        for x, y in self.train_loader:
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()

    @torch.no_grad()
    def validate(self):
        right = 0
        for x, y in self.val_loader:
            right += (self.model(x).argmax(dim=1) == y).sum().item()
        return right / len(self.val_loader.dataset)

    def fit(self, epochs):
        for epoch in range(epochs):
            self.train_epoch()
            print(self.validate())
""",
    # weights loaded, then used at once
    NET
    + """
def classify(path, image):
    model = Net()
    model.load_state_dict(torch.load(path, weights_only=True))
    with torch.no_grad():
        return model(image).argmax(dim=1)
""",
    # a batch that holds all test data
    NET
    + """
def accuracy_of(X_train, y_train, X_test, y_test):
    model = Net()
    optimizer = torch.optim.Adam(model.parameters())
    for epoch in range(100):
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(X_train), y_train).backward()
        optimizer.step()
    with torch.no_grad():
        return (model(X_test).argmax(1) == y_test).float().mean()
""",
    # a model of torchvision, mode never mentioned
    """
import torch
from torchvision.models import resnet18

def predict(weights, test_loader):
    model = resnet18(num_classes=10)
    model.load_state_dict(weights)
    found = []
    with torch.no_grad():
        for x, _ in test_loader:
            found.append(model(x).argmax(dim=1))
    return torch.cat(found)
""",
    # a notebook: all test data at once, train() before
    """
import torch
from torch import nn

def cells(X_train, y_train, X_test):
    clf = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 1))
    adam = torch.optim.Adam(clf.parameters(), lr=1e-3)
    clf.train()
    for epoch in range(20):
        adam.zero_grad()
        nn.functional.mse_loss(clf(X_train), y_train).backward()
        adam.step()
    with torch.no_grad():
        return clf(X_test)
""",
]

EVAL_IS_RIGHT = [
    # the caller switches
    NET
    + TRAIN
    + """
@torch.no_grad()
def count(model, test_loader):
    return sum((model(x).argmax(1) == y).sum().item() for x, y in test_loader)

@torch.no_grad()
def test(model, test_loader):
    right = 0
    for x, y in test_loader:
        right += (model(x).argmax(1) == y).sum().item()
    return right

def main(train_loader, test_loader):
    model = Net().to("cpu")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(3):
        train_one_epoch(model, train_loader, nn.CrossEntropyLoss(), optimizer, "cpu")
        model.eval()
        print(test(model, test_loader), count(model, test_loader))
""",
    # neither dropout nor batch norm
    """
import torch
from torch import nn

def main(train_loader, val_loader):
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
    right = 0
    with torch.no_grad():
        for x, y in val_loader:
            right += (model(x).argmax(1) == y).sum().item()
    print(right / len(val_loader.dataset))
""",
    # made for evaluation
    NET
    + """
def load(path):
    model = Net()
    model.load_state_dict(torch.load(path, weights_only=True))
    model.eval()
    return model

def main(path, test_loader):
    model = load(path)
    with torch.no_grad():
        for x, _ in test_loader:
            print(model(x).argmax(1))
""",
    # both phases in one loop
    NET
    + """
def fit(model, loaders, optimizer):
    for epoch in range(3):
        for phase in ("train", "val"):
            model.train(phase == "train")
            for x, y in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    loss = F.cross_entropy(model(x), y)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
""",
    # dropout on by intention
    NET
    + """
def predict_with_uncertainty(model, test_loader, passes=20):
    model.train()
    with torch.no_grad():
        for x, _ in test_loader:
            print(torch.stack([model(x) for _ in range(passes)]).std(0))
""",
    # in evaluation mode from the start, in the constructor
    NET
    + """
class Predictor:
    def __init__(self, weights):
        self.model = Net()
        self.model.load_state_dict(weights)
        self.model.eval()

    @torch.inference_mode()
    def predict(self, test_loader):
        return torch.cat([self.model(x) for x, _ in test_loader])

    @torch.inference_mode()
    def evaluate(self, test_loader):
        right = 0
        for x, y in test_loader:
            right += (self.model(x).argmax(1) == y).sum().item()
        return right
""",
    # the teacher is in evaluation mode, the student trains
    NET
    + """
def distil(teacher, train_loader):
    student = Net()
    teacher.eval()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
    student.train()
    for x, _ in train_loader:
        with torch.no_grad():
            wanted = teacher(x).softmax(dim=1)
        optimizer.zero_grad()
        F.cross_entropy(student(x), wanted).backward()
        optimizer.step()
""",
]


@pytest.mark.parametrize("text", MISSING_EVAL)
def test_a_missing_eval_is_found(text: str) -> None:
    assert rules_in(text) == ["missing-eval"]


@pytest.mark.parametrize("text", EVAL_IS_RIGHT)
def test_right_modes_are_silent(text: str) -> None:
    assert rules_in(text) == []


def test_eval_in_another_file_counts() -> None:
    model = "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n"
    model += "        super().__init__()\n        self.fc = nn.Linear(4, 2)\n"
    model += "        self.drop = nn.Dropout(0.5)\n"
    model += "    def forward(self, x):\n        return self.fc(self.drop(x))\n"
    measure = "import torch\ndef evaluate(model, loader):\n    right = 0\n{}"
    measure += "    with torch.no_grad():\n        for x, y in loader:\n"
    measure += "            right += (model(x).argmax(1) == y).sum().item()\n    return right\n"
    main = "import torch\nfrom net import Net\nfrom measure import evaluate\n"
    main += "def main(test_loader):\n    model = Net()\n    print(evaluate(model, test_loader))\n"
    bad = rules_in(main, net=model, measure=measure.format(""))
    good = rules_in(main, net=model, measure=measure.format("    model.eval()\n"))
    assert (bad, good) == (["missing-eval"], [])
