"""Rules on the order of steps and gradients."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in

from .steps_programs import TOP, loop

GAN = (
    TOP
    + """
def train(net_g, net_d, train_loader, z):
    opt_g = optim.Adam(net_g.parameters(), lr=2e-4)
    opt_d = optim.Adam(net_d.parameters(), lr=2e-4)
    bce = nn.BCEWithLogitsLoss()
    net_g.train()
    net_d.train()
    for i, (real, _) in enumerate(train_loader):
        one, zero = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = net_g(z)
        opt_d.zero_grad()
        loss_d = bce(net_d(real), one) + bce(net_d(fake.detach()), zero)
        loss_d.backward()
        opt_d.step()
        if i % 5 == 0:
            opt_g.zero_grad()
            loss_g = bce(net_d(net_g(z)), one)
            loss_g.backward()
            opt_g.step()
"""
)

EARLY = {
    "cleared last": loop(
        """
        loss = criterion(model(x), y)
        optimizer.step()
        loss.backward()
        optimizer.zero_grad()
        """
    ),
    "in a class": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        self.optimizer.step()
        loss.backward()
""",
    "the first three": loop(
        """
        optimizer.zero_grad()
        optimizer.step()
        criterion(model(x), y).backward()
        """
    ),
    "of the model": loop(
        """
        model.zero_grad()
        out = model(x)
        loss = criterion(out, y)
        optimizer.step()
        loss.backward()
        """
    ),
    "accelerate": """
from accelerate import Accelerator
from torch import optim

def train(model, train_loader):
    accelerator = Accelerator()
    optimizer = optim.AdamW(model.parameters(), lr=1e-4)
    model, optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)
    model.train()
    for batch in train_loader:
        optimizer.zero_grad()
        loss = model(**batch).loss
        optimizer.step()
        accelerator.backward(loss)
""",
    "a while loop": TOP
    + """
def fit(model, x, y):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    steps = 0
    while steps < 100:
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        optimizer.step()
        loss.backward()
        steps += 1
""",
}

LATE = {
    "the step of the batch before": loop(
        """
        optimizer.step()
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        """
    ),
    "accumulation": loop(
        """
        if i and i % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
        loss = criterion(model(x), y) / 4
        loss.backward()
        """
    ),
    "two optimizers": GAN,
    "a closure": TOP
    + """
def fit(model, x, y):
    optimizer = optim.LBFGS(model.parameters())
    model.train()
    def closure():
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        return loss
    for _ in range(10):
        optimizer.step(closure)
""",
    "manual, two optimizers": """
import torch
import torch.nn.functional as F
import lightning as L

class Gan(L.LightningModule):
    def __init__(self, g, d):
        super().__init__()
        self.g, self.d = g, d
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        g_opt, d_opt = self.optimizers()
        d_opt.zero_grad()
        d_loss = F.softplus(self.d(self.g(batch).detach())).mean()
        self.manual_backward(d_loss)
        d_opt.step()
        g_opt.zero_grad()
        g_loss = F.softplus(-self.d(self.g(batch))).mean()
        self.manual_backward(g_loss)
        g_opt.step()
""",
    "two branches": loop(
        """
        if scaler is not None:
            optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = criterion(model(x), y)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        """,
        parameters=", scaler=None",
    ),
}


@pytest.mark.parametrize("text", EARLY.values(), ids=EARLY)
def test_a_step_before_its_gradients_is_found(text: str) -> None:
    assert rules_in(text) == ["step-before-backward"]


@pytest.mark.parametrize("text", LATE.values(), ids=LATE)
def test_a_step_that_comes_first_on_purpose_is_silent(text: str) -> None:
    assert rules_in(text) == []
