"""Rules on steps and gradients that are missing."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in

from .steps_programs import TOP, loop

NO_STEP = {
    "a class": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)

    def fit(self, train_loader):
        self.model.train()
        for x, y in train_loader:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
""",
    "a function of another": TOP
    + """
def train_one_epoch(model, train_loader, criterion, optimizer, device):
    model.train()
    running = 0.0
    for x, y in train_loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        running += loss.item() * x.size(0)
    return running / len(train_loader.dataset)

def main(model, train_loader, device):
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(10):
        print(epoch, train_one_epoch(model, train_loader, criterion, optimizer, device))
""",
    "only the schedule": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        """,
        "scheduler = lr_scheduler.StepLR(optimizer, 10)",
        "scheduler.step()",
    ),
    "clipped": loop(
        """
        optimizer.zero_grad(set_to_none=True)
        loss = criterion(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        """
    ),
    "at the end": loop(
        """
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.zero_grad()
        """
    ),
}

STEPPED = {
    "saliency": TOP
    + """
def saliency(model, loader):
    model.eval()
    maps = []
    for x, _ in loader:
        x.requires_grad_()
        model.zero_grad()
        model(x).max(dim=1).values.sum().backward()
        maps.append(x.grad.abs())
    return maps
""",
    "an unknown helper": """
import torch
import torch.nn.functional as F
from library import finish

def train(model, train_loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        finish(optimizer)
""",
    "after the loop": TOP
    + """
def train(model, train_loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(3):
        optimizer.zero_grad()
        for x, y in train_loader:
            loss = F.cross_entropy(model(x), y) / len(train_loader)
            loss.backward()
        optimizer.step()
""",
    "by hand": TOP
    + """
def train(model, train_loader):
    model.train()
    for x, y in train_loader:
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
""",
    "a method of the trainer": TOP
    + """
class Trainer(Base):
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)

    def fit(self, train_loader):
        self.model.train()
        for x, y in train_loader:
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer_step()
""",
    "norms of the gradients": TOP
    + """
def norms(model, optimizer, loader):
    found = []
    for x, y in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        found.append(sum(p.grad.norm().item() for p in model.parameters()))
    return found
""",
}

NO_BACKWARD = {
    "plain": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        optimizer.step()
        """
    ),
    "a class": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)
        self.criterion = nn.CrossEntropyLoss()

    def fit(self, train_loader):
        self.model.train()
        for x, y in train_loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(x), y)
            self.optimizer.step()
""",
    "with a sum": loop(
        """
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        optimizer.step()
        total += loss.item() * len(x)
        """,
        "total = 0.0",
    ),
    "a parameter": TOP
    + """
def train(model, train_loader, criterion, optimizer):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        output = model(x)
        loss = criterion(output, y)
        optimizer.step()
        print(loss.item())
""",
    "a schedule": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        optimizer.step()
        scheduler.step()
        """,
        "scheduler = lr_scheduler.LambdaLR(optimizer, lambda i: 0.99**i)",
    ),
}

OTHER_GRADIENTS = {
    "autograd.grad": TOP
    + """
def train(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        for p, g in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters()))):
            p.grad = g
        optimizer.step()
""",
    "an unknown helper": """
import torch
import torch.nn.functional as F
from library import propagate

def train(model, train_loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        propagate(loss)
        optimizer.step()
""",
    "a helper": TOP
    + """
def propagate(loss):
    loss.backward()

def train(model, train_loader):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        propagate(loss)
        optimizer.step()
""",
    "a list of losses": TOP
    + """
def train(model, train_loader, heads, combine):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        combine([loss, heads(x)])
        optimizer.step()
""",
    "evolution": TOP
    + """
def train(model, train_loader, estimate):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for x, y in train_loader:
        optimizer.zero_grad()
        estimate(model, x, y)
        optimizer.step()
""",
}


STEPPED["a step of a class that is mixed in"] = (
    TOP
    + """
class Template:
    def make_update(self):
        raise NotImplementedError

    def optimizer_step(self):
        ...

class Rounds(Template):
    def run(self):
        for self.batch in self.batches:
            self.optimizer.zero_grad()
            self.loss = self.criterion(self.model(self.batch))
            self.loss.backward()
            self.optimizer_step()
"""
)


@pytest.mark.parametrize("text", NO_STEP.values(), ids=NO_STEP)
def test_a_missing_step_is_found(text: str) -> None:
    assert rules_in(text) == ["missing-step"]


@pytest.mark.parametrize("text", STEPPED.values(), ids=STEPPED)
def test_gradients_without_a_step_of_their_own_are_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", NO_BACKWARD.values(), ids=NO_BACKWARD)
def test_a_missing_backward_is_found(text: str) -> None:
    assert rules_in(text) == ["missing-backward"]


@pytest.mark.parametrize("text", OTHER_GRADIENTS.values(), ids=OTHER_GRADIENTS)
def test_gradients_from_elsewhere_are_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("name", ["zero_grad", "backward", "step"])
def test_a_method_that_is_not_called_is_for_another_rule(name: str) -> None:
    on = "loss" if name == "backward" else "optimizer"
    lines = ["optimizer.zero_grad()", "loss = criterion(model(x), y)", "loss.backward()"]
    text = "\n".join([*lines, "optimizer.step()"]).replace(f"{on}.{name}()", f"{on}.{name}")
    assert rules_in(loop(text)) == ["method-not-called"]
