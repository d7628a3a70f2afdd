"""Rules on where gradients are cleared."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

from .steps_programs import TOP, loop

MISSING = {
    "a trainer class": TOP
    + """
class Trainer:
    def __init__(self, model, train_loader):
        self.model = model
        self.train_loader = train_loader
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = optim.Adam(self.model.parameters(), lr=1e-3)

    def train_step(self, x, y):
        loss = self.criterion(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def fit(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            for x, y in self.train_loader:
                self.train_step(x, y)
""",
    "a while loop": TOP
    + """
def fit(model, x, y, most=1000):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    step = 0
    while step < most:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        step += 1
""",
    "a closure": TOP
    + """
def fit(model, x, y):
    optimizer = torch.optim.LBFGS(model.parameters())
    model.train()
    def closure():
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss
    for _ in range(10):
        optimizer.step(closure)
""",
    "accelerate": """
from accelerate import Accelerator
from torch import nn, optim

def train(model, train_loader):
    accelerator = Accelerator()
    optimizer = optim.AdamW(model.parameters(), lr=1e-4)
    model, optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)
    model.train()
    for batch in train_loader:
        loss = model(**batch).loss
        accelerator.backward(loss)
        optimizer.step()
""",
    "mixed precision": loop(
        """
        with torch.autocast("cuda"):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        """,
        "scaler = torch.amp.GradScaler()",
    ),
    "accumulation": loop(
        """
        loss = criterion(model(x), y) / 4
        loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
        """
    ),
    "manual optimization": """
import torch
import torch.nn.functional as F
import lightning as L

class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.net = torch.nn.Linear(8, 2)

    def training_step(self, batch, batch_idx):
        x, y = batch
        opt = self.optimizers()
        loss = F.cross_entropy(self.net(x), y)
        self.manual_backward(loss)
        opt.step()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)
""",
}

CLEARED = {
    "accumulation": loop(
        """
        loss = criterion(model(x), y) / 4
        loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
        """
    ),
    "by hand": loop(
        """
        for p in model.parameters():
            p.grad = None
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        """
    ),
    "of the model": loop(
        """
        model.zero_grad(set_to_none=True)
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        """
    ),
    "at the end, in a helper": TOP
    + """
def update(optimizer, loss):
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)

def train(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        loss = F.cross_entropy(model(x), y)
        update(optimizer, loss)
""",
    "by a wrapper": TOP
    + """
class Wrapped:
    def __init__(self, optimizer):
        self.inner = optimizer

    def step(self):
        self.inner.step()
        self.inner.zero_grad()

def train(model, train_loader):
    opt = Wrapped(optim.SGD(model.parameters(), lr=0.1))
    model.train()
    for x, y in train_loader:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        opt.step()
""",
    "several optimizers": TOP
    + """
def train(net_g, net_d, train_loader, z):
    opt_g = optim.Adam(net_g.parameters(), lr=2e-4)
    opt_d = optim.Adam(net_d.parameters(), lr=2e-4)
    bce = nn.BCEWithLogitsLoss()
    net_g.train()
    net_d.train()
    for real, _ in train_loader:
        opt_d.zero_grad()
        fake = net_g(z)
        one, zero = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        loss_d = bce(net_d(real), one) + bce(net_d(fake.detach()), zero)
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = bce(net_d(fake), one)
        loss_g.backward()
        opt_g.step()
""",
    "all of a dict": TOP
    + """
def train(nets, train_loader):
    optimizers = {name: optim.Adam(net.parameters(), lr=2e-4) for name, net in nets.items()}
    for x, y in train_loader:
        for o in optimizers.values():
            o.zero_grad()
        loss = F.cross_entropy(nets["head"](nets["body"](x)), y)
        loss.backward()
        for o in optimizers.values():
            o.step()
""",
    "a new optimizer each time": TOP
    + """
def probe(make, data, y):
    for x in data:
        model = make()
        model.train()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
""",
    "an attack": TOP
    + """
def attack(model, images, labels, steps, eps):
    model.eval()
    for _ in range(steps):
        images.requires_grad_()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        images = (images + eps * images.grad.sign()).detach()
    return images
""",
    "deepspeed": """
import deepspeed
import torch.nn.functional as F

def train(model, config, train_loader):
    engine, _, _, _ = deepspeed.initialize(model=model, config=config)
    engine.train()
    for x, y in train_loader:
        loss = F.cross_entropy(engine(x), y)
        engine.backward(loss)
        engine.step()
""",
    "by a closure": TOP
    + """
def fit(model, x, y):
    optimizer = torch.optim.LBFGS(model.parameters())
    model.train()
    for _ in range(10):
        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss
        optimizer.step(closure)
""",
}


@pytest.mark.parametrize("text", MISSING.values(), ids=MISSING)
def test_a_missing_zero_grad_is_found(text: str) -> None:
    assert rules_in(text) == ["missing-zero-grad"]
    assert found_in(text)[0].severity == "error"


@pytest.mark.parametrize("text", CLEARED.values(), ids=CLEARED)
def test_cleared_gradients_are_silent(text: str) -> None:
    assert rules_in(text) == []


def test_a_step_whose_caller_is_not_known_is_a_hint() -> None:
    text = (
        TOP
        + """
def update(model, optimizer, x, y):
    model.train()
    loss = F.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
"""
    )
    findings = found_in(text)
    assert [(one.rule, one.severity) for one in findings] == [("missing-zero-grad", "hint")]


def test_the_place_is_that_of_backward_in_a_helper() -> None:
    finding = found_in(MISSING["a trainer class"])[0]
    assert "loss.backward()" in MISSING["a trainer class"].splitlines()[finding.line - 1]
