"""Rules on schedulers without a metric and without a step, and on LBFGS without a closure."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in

from .steps_programs import TOP, loop, plain

PLATEAU = "scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)"
VALIDATED = """
@torch.no_grad()
def validate(model, val_loader):
    model.eval()
    total = 0.0
    for x, y in val_loader:
        total += F.cross_entropy(model(x), y, reduction="sum").item()
    return total / len(val_loader.dataset)

def train_one_epoch(model, train_loader, optimizer):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
"""

WITHOUT_METRIC = {
    "per epoch": plain("scheduler.step()", PLATEAU),
    "per batch": plain(setup=PLATEAU, last="scheduler.step()"),
    "by its full name": plain(
        "sched.step()", "sched = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, 'max')"
    ),
    "in a class": TOP
    + VALIDATED
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)
        self.scheduler = lr_scheduler.ReduceLROnPlateau(self.optimizer, factor=0.5)

    def fit(self, train_loader, epochs):
        for epoch in range(epochs):
            train_one_epoch(self.model, train_loader, self.optimizer)
            self.scheduler.step()
""",
    "a parameter": TOP
    + VALIDATED
    + """
def fit(model, train_loader, optimizer, scheduler):
    for epoch in range(10):
        train_one_epoch(model, train_loader, optimizer)
        scheduler.step()

def main(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    fit(model, train_loader, optimizer, lr_scheduler.ReduceLROnPlateau(optimizer))
""",
}

WITH_METRIC = {
    "a loss": TOP
    + VALIDATED
    + """
def main(model, train_loader, val_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
    for epoch in range(10):
        train_one_epoch(model, train_loader, optimizer)
        scheduler.step(validate(model, val_loader))
""",
    "by name": TOP
    + VALIDATED
    + """
def main(model, train_loader, val_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
    for epoch in range(10):
        train_one_epoch(model, train_loader, optimizer)
        scheduler.step(metrics=validate(model, val_loader))
""",
    "one of two kinds": TOP
    + VALIDATED
    + """
def main(model, train_loader, val_loader, args):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    if args.plateau:
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
    else:
        scheduler = lr_scheduler.StepLR(optimizer, 10)
    for epoch in range(10):
        train_one_epoch(model, train_loader, optimizer)
        if args.plateau:
            scheduler.step(validate(model, val_loader))
        else:
            scheduler.step()
""",
    "asked for its class": TOP
    + VALIDATED
    + """
def main(model, train_loader, val_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer)
    for epoch in range(10):
        train_one_epoch(model, train_loader, optimizer)
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(validate(model, val_loader))
        else:
            scheduler.step()
""",
    "not known": TOP
    + VALIDATED
    + """
def fit(model, train_loader, optimizer, scheduler):
    for epoch in range(10):
        train_one_epoch(model, train_loader, optimizer)
        scheduler.step()
""",
}

NEVER = {
    "not used": plain(setup="scheduler = lr_scheduler.StepLR(optimizer, 10)"),
    "only read": plain(
        "print(scheduler.get_last_lr())", "scheduler = lr_scheduler.ExponentialLR(optimizer, 0.9)"
    ),
    "only restored": plain(
        setup="""
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        scheduler.load_state_dict(torch.load("state.pt", weights_only=True)["scheduler"])
        """
    ),
    "in a class": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)
        self.scheduler = lr_scheduler.MultiStepLR(self.optimizer, [30, 60])

    def train_one_epoch(self, train_loader):
        self.model.train()
        for x, y in train_loader:
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
""",
    "of the transformers": """
import torch
from transformers import get_linear_schedule_with_warmup

def train(model, train_loader, epochs):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    scheduler = get_linear_schedule_with_warmup(optimizer, 100, epochs * len(train_loader))
    model.train()
    for epoch in range(epochs):
        for batch in train_loader:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
""",
}

SOMEWHERE = {
    "returned": TOP
    + """
def build(model):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.StepLR(optimizer, 10)
    return optimizer, scheduler
""",
    "given away": plain(
        setup="scheduler = lr_scheduler.StepLR(optimizer, 10)", after="finish_epoch(scheduler)"
    ),
    "part of another": plain(
        "scheduler.step()",
        """
        warm = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5)
        rest = lr_scheduler.CosineAnnealingLR(optimizer, epochs - 5)
        scheduler = lr_scheduler.SequentialLR(optimizer, [warm, rest], milestones=[5])
        """,
    ),
    "of a trainer": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)
        self.scheduler = lr_scheduler.MultiStepLR(self.optimizer, [30, 60])

    def train_one_epoch(self, train_loader):
        self.model.train()
        for x, y in train_loader:
            self.optimizer.zero_grad()
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()

def main(model, train_loader):
    trainer = Trainer(model)
    for epoch in range(90):
        trainer.train_one_epoch(train_loader)
        trainer.scheduler.step()
""",
    "in a list": plain(
        """
        for one in schedulers:
            one.step()
        """,
        """
        scheduler = lr_scheduler.StepLR(optimizer, 10)
        schedulers = [scheduler]
        """,
    ),
    "only drawn": TOP
    + """
def draw(model):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.StepLR(optimizer, 10)
    return scheduler.get_last_lr()
""",
}

NO_CLOSURE = {
    "plain": TOP
    + """
def fit(model, x, y):
    optimizer = optim.LBFGS(model.parameters(), lr=0.5)
    model.train()
    for _ in range(20):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
""",
    "in a class": TOP
    + """
class Fit:
    def __init__(self, model):
        self.model = model
        self.optimizer = torch.optim.LBFGS(model.parameters())

    def run(self, x, y):
        self.model.train()
        for _ in range(20):
            self.optimizer.zero_grad()
            F.mse_loss(self.model(x), y).backward()
            self.optimizer.step()
""",
    "by its own name": """
import torch
from torch.optim import LBFGS

def style(target, image, distance):
    image.requires_grad_()
    opt = LBFGS([image])
    for _ in range(50):
        opt.zero_grad()
        loss = distance(image, target)
        loss.backward()
        opt.step()
""",
    "a parameter": TOP
    + """
def fit(model, optimizer, x, y):
    model.train()
    for _ in range(20):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()

def main(model, x, y):
    fit(model, optim.LBFGS(model.parameters()), x, y)
""",
    "once": TOP
    + """
def calibrate(temperature, logits, y):
    optimizer = optim.LBFGS([temperature], max_iter=50)
    optimizer.zero_grad()
    loss = F.cross_entropy(logits / temperature, y)
    loss.backward()
    optimizer.step()
""",
}

CLOSURE = {
    "a lambda": TOP
    + """
def fit(model, x, y):
    optimizer = optim.LBFGS(model.parameters())
    model.train()
    def closure(a, b):
        optimizer.zero_grad()
        loss = F.mse_loss(model(a), b)
        loss.backward()
        return loss
    for _ in range(20):
        optimizer.step(lambda: closure(x, y))
""",
    "by name": TOP
    + """
def calibrate(temperature, logits, y):
    optimizer = optim.LBFGS([temperature], max_iter=50)
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / temperature, y)
        loss.backward()
        return loss
    optimizer.step(closure=closure)
""",
    "a method": TOP
    + """
class Fit:
    def __init__(self, model, x, y):
        self.model, self.x, self.y = model, x, y
        self.optimizer = torch.optim.LBFGS(model.parameters())

    def closure(self):
        self.optimizer.zero_grad()
        loss = F.mse_loss(self.model(self.x), self.y)
        loss.backward()
        return loss

    def run(self):
        self.model.train()
        for _ in range(20):
            self.optimizer.step(self.closure)
""",
    "one of two optimizers": TOP
    + """
def fit(model, x, y, second_order):
    model.train()
    parameters = list(model.parameters())
    optimizer = optim.LBFGS(parameters) if second_order else optim.SGD(parameters, lr=0.1)
    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss
    for _ in range(20):
        if second_order:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
""",
    "another optimizer": loop(
        """
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
        """
    ),
}


@pytest.mark.parametrize("text", WITHOUT_METRIC.values(), ids=WITHOUT_METRIC)
def test_a_plateau_without_a_metric_is_found(text: str) -> None:
    assert "plateau-without-metric" in rules_in(text)
    assert set(rules_in(text)) <= {"plateau-without-metric", "scheduler-every-batch"}


@pytest.mark.parametrize("text", WITH_METRIC.values(), ids=WITH_METRIC)
def test_a_plateau_with_a_metric_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", NEVER.values(), ids=NEVER)
def test_a_scheduler_that_is_never_stepped_is_found(text: str) -> None:
    assert rules_in(text) == ["scheduler-never-stepped"]


@pytest.mark.parametrize("text", SOMEWHERE.values(), ids=SOMEWHERE)
def test_a_scheduler_that_may_be_stepped_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", NO_CLOSURE.values(), ids=NO_CLOSURE)
def test_a_missing_closure_is_found(text: str) -> None:
    assert rules_in(text) == ["closure-missing"]


@pytest.mark.parametrize("text", CLOSURE.values(), ids=CLOSURE)
def test_a_closure_is_silent(text: str) -> None:
    assert rules_in(text) == []
