"""Rules on gradients in evaluation, and on methods that are named but not called."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

TOP = """
import torch
from torch import nn
import torch.nn.functional as F
"""

MISSING = [
    # module level
    TOP
    + """
from torch.utils.data import DataLoader
from data import test_set
model = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.1))
test_loader = DataLoader(test_set, batch_size=10)
model.eval()
right = 0
for x, y in test_loader:
    right += (model(x).argmax(1) == y).sum().item()
print(right / len(test_loader.dataset))
""",
    # a method
    TOP
    + """
class Trainer:
    def __init__(self, model, val_loader):
        self.model, self.val_loader = model, val_loader

    def validate(self):
        self.model.eval()
        total = 0.0
        for batch, target in self.val_loader:
            total += F.mse_loss(self.model(batch), target, reduction="sum").item()
        return total / len(self.val_loader.dataset)
""",
    # no_grad around something else
    TOP
    + """
def predict(model, loader):
    model.eval()
    found = []
    for x in loader:
        out = model(x)
        with torch.no_grad():
            found.append(out.argmax(dim=1).cpu())
    return torch.cat(found)
""",
    # autocast is not no_grad
    TOP
    + """
def evaluate(model, loader):
    model.eval()
    right = 0
    with torch.autocast("cuda"):
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right / len(loader.dataset)
""",
    # in a function that the loop calls
    TOP
    + """
def step(model, x, y):
    return F.cross_entropy(model(x), y, reduction="sum")

def evaluate(model, loader):
    model.eval()
    total = 0.0
    for x, y in loader:
        total += step(model, x, y).item()
    return total / len(loader.dataset)

def main(model, test_loader):
    print(evaluate(model, test_loader))
""",
]

RIGHT = [
    # a decorator, with and without parentheses
    TOP
    + """
@torch.no_grad
def evaluate(model, loader):
    model.eval()
    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader)

@torch.inference_mode()
def test(model, loader):
    model.eval()
    right = 0
    for x, y in loader:
        right += (model(x).argmax(1) == y).sum().item()
    return right
""",
    # the caller
    TOP
    + """
def evaluate(model, loader):
    model.eval()
    right = 0
    for x, y in loader:
        right += (model(x).argmax(1) == y).sum().item()
    return right

def main(model, test_loader):
    with torch.no_grad():
        print(evaluate(model, test_loader))
""",
    # gradients are needed: an attack
    TOP
    + """
def evaluate_robust(model, test_loader, eps):
    model.eval()
    right = 0
    for x, y in test_loader:
        x.requires_grad_(True)
        (slope,) = torch.autograd.grad(F.cross_entropy(model(x), y), x)
        with torch.no_grad():
            right += (model(x + eps * slope.sign()).argmax(1) == y).sum().item()
    return right
""",
    # switched off for the whole program
    TOP
    + """
torch.set_grad_enabled(False)

def evaluate(model, loader):
    model.eval()
    right = 0
    for x, y in loader:
        right += (model(x).argmax(1) == y).sum().item()
    return right
""",
    # nothing in the model needs a gradient
    TOP
    + """
def features(model, test_loader):
    model.eval()
    model.requires_grad_(False)
    return [model(x) for x, _ in test_loader]

def predict(model, loader):
    model.eval()
    model.requires_grad_(False)
    found = []
    for x in loader:
        found.append(model(x).argmax(dim=1))
    return found
""",
    # a context of the program's own
    TOP
    + """
from tools import evaluating

def evaluate(model, loader):
    right = 0
    with evaluating(model):
        for x, y in loader:
            right += (model(x).argmax(1) == y).sum().item()
    return right
""",
    # a training loop with a bare step in a function
    TOP
    + """
def run_epoch(model, loader, optimizer=None):
    model.train(optimizer is not None)
    for x, y in loader:
        loss = F.cross_entropy(model(x), y)
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
""",
]

NOT_CALLED = [
    "def f(net, x):\n    net.eval\n    with torch.no_grad():\n        return net(x)\n",
    "def f(model):\n    model.train\n",
    "class T:\n    def f(self):\n        self.scheduler.step\n",
    "def f(parameters):\n    opt = torch.optim.SGD(parameters, lr=1.0)\n    opt.step\n",
    "def f(objective):\n    objective.backward\n",
]
CALLED = [
    "def f(model):\n    return model.eval\n",
    "def f(model):\n    try:\n        model.eval\n    except AttributeError:\n        pass\n",
    "def f(model):\n    switch = model.train\n    switch()\n",
    "def f(table):\n    table.columns\n",
    "def f(model, register):\n    register(model.eval)\n",
]
NOT_ENTERED = [
    TOP + "def f(model, x):\n    model.eval()\n    torch.no_grad()\n    return model(x)\n",
    TOP + "def f(model, x):\n    model.eval()\n    torch.inference_mode()\n    return model(x)\n",
    TOP + "torch.no_grad()\n",
    "from torch import no_grad\ndef f(p):\n    no_grad()\n    print(p)\n",
    TOP + "def f(p):\n    torch.enable_grad()\n    print(p)\n",
]
ENTERED = [
    TOP + "def f(p):\n    torch.set_grad_enabled(False)\n    print(p)\n",
    TOP + "def f(p):\n    off = torch.no_grad()\n    with off:\n        print(p)\n",
    TOP + "def f(p):\n    with torch.no_grad():\n        print(p)\n",
    TOP + "def f(stack):\n    stack.enter_context(torch.no_grad())\n",
    TOP + "def f(p):\n    off = torch.no_grad if p else torch.enable_grad\n    return off()\n",
]
WITHOUT_CALL = [
    TOP + "def f(p):\n    with torch.no_grad:\n        print(p)\n",
    TOP + "def f(p):\n    with torch.inference_mode:\n        print(p)\n",
    "from torch import no_grad\ndef f(p):\n    with no_grad:\n        print(p)\n",
    TOP + "def f(p):\n    with torch.autocast('cpu'), torch.no_grad:\n        print(p)\n",
    "import torch as t\ndef f(p):\n    with t.enable_grad:\n        print(p)\n",
]
WITH_CALL = [
    TOP + "@torch.no_grad\ndef f(p):\n    print(p)\n",
    TOP + "@torch.inference_mode\ndef f(p):\n    print(p)\n",
    TOP + "no_grad = torch.no_grad()\ndef f(p):\n    with no_grad:\n        print(p)\n",
    TOP + "def f(p, lock):\n    with lock:\n        print(p)\n",
    TOP + "def f(p):\n    with torch.no_grad() as _:\n        print(p)\n",
]


@pytest.mark.parametrize("text", MISSING)
def test_missing_no_grad_is_found(text: str) -> None:
    assert rules_in(text) == ["missing-no-grad"]


@pytest.mark.parametrize("text", RIGHT)
def test_evaluation_without_gradients_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", NOT_CALLED)
def test_a_method_without_parentheses_is_found(text: str) -> None:
    (finding,) = found_in(TOP + text)
    assert (finding.rule, finding.severity) == ("method-not-called", "error")


@pytest.mark.parametrize("text", CALLED)
def test_a_method_that_is_passed_on_is_silent(text: str) -> None:
    assert rules_in(TOP + text) == []


@pytest.mark.parametrize("text", NOT_ENTERED)
def test_a_context_that_is_thrown_away_is_found(text: str) -> None:
    assert rules_in(text) == ["no-grad-not-entered"]


@pytest.mark.parametrize("text", WITHOUT_CALL)
def test_a_context_without_parentheses_is_found(text: str) -> None:
    assert rules_in(text) == ["no-grad-not-called"]


@pytest.mark.parametrize("text", ENTERED + WITH_CALL)
def test_contexts_that_act_are_silent(text: str) -> None:
    assert rules_in(text) == []
