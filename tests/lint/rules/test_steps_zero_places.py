"""Rules on gradients that are cleared at the wrong place."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in

from .steps_programs import TOP, loop

OUTSIDE = {
    "before the loop": loop(
        """
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        """,
        "optimizer.zero_grad()",
    ),
    "at the end of the epoch": loop(
        """
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        """,
        after="optimizer.zero_grad()",
    ),
    "of the model": TOP
    + """
def run(model, train_loader, epochs):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        model.train()
        model.zero_grad()
        for x, y in train_loader:
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
""",
    "in the caller": TOP
    + """
def train_one_epoch(model, train_loader, criterion, optimizer):
    model.train()
    for x, y in train_loader:
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()

def main(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(10):
        optimizer.zero_grad()
        train_one_epoch(model, train_loader, criterion, optimizer)
""",
    "in a class": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.opt = optim.SGD(model.parameters(), lr=0.1)

    def fit(self, train_loader, epochs):
        self.model.train()
        for epoch in range(epochs):
            self.opt.zero_grad()
            for x, y in train_loader:
                loss = F.cross_entropy(self.model(x), y)
                loss.backward()
                self.opt.step()
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
        "optimizer.zero_grad(set_to_none=True)",
    ),
}

WHOLE_EPOCHS = {
    "an update per epoch": TOP
    + """
def train(model, train_loader, epochs):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(epochs):
        optimizer.zero_grad()
        for x, y in train_loader:
            loss = F.cross_entropy(model(x), y) / len(train_loader)
            loss.backward()
        optimizer.step()
""",
    "before and in the loop": loop(
        """
        loss = criterion(model(x), y) / 8
        loss.backward()
        if (i + 1) % 8 == 0:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        """,
        "optimizer.zero_grad()",
    ),
    "small batches": TOP
    + """
def train(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        for a, b in zip(x.chunk(4), y.chunk(4)):
            loss = F.cross_entropy(model(a), b) / 4
            loss.backward()
        optimizer.step()
""",
    "another optimizer": TOP
    + """
def train(model, head, train_loader):
    warm = optim.SGD(head.parameters(), lr=0.1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    warm.zero_grad()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(head(model(x)), y)
        loss.backward()
        optimizer.step()
""",
    "in a callback of each step": TOP
    + """
def after_step(optimizer):
    optimizer.zero_grad()

def train(model, train_loader, epochs):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    model.train()
    for epoch in range(epochs):
        for x, y in train_loader:
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            after_step(optimizer)
""",
}

AFTER = {
    "of the model": loop(
        """
        loss = criterion(model(x), y)
        loss.backward()
        model.zero_grad()
        optimizer.step()
        """
    ),
    "in a class": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(self, x, y):
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.zero_grad()
        self.optimizer.step()
""",
    "accumulation": loop(
        """
        loss = criterion(model(x), y) / 4
        loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.zero_grad()
            optimizer.step()
        """
    ),
    "mixed precision": loop(
        """
        with torch.autocast("cuda"):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        optimizer.zero_grad()
        scaler.step(optimizer)
        scaler.update()
        """,
        "scaler = torch.amp.GradScaler()",
    ),
    "one of two": TOP
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
        loss_g = bce(net_d(fake), one)
        loss_g.backward()
        opt_g.zero_grad()
        opt_g.step()
""",
    "a helper": TOP
    + """
def apply(optimizer, loss):
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()

def train(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        apply(optimizer, F.cross_entropy(model(x), y))
""",
}

IN_ORDER = {
    "the other optimizer between": TOP
    + """
def train(net_g, net_d, train_loader, z):
    opt_g = optim.Adam(net_g.parameters(), lr=2e-4)
    opt_d = optim.Adam(net_d.parameters(), lr=2e-4)
    bce = nn.BCEWithLogitsLoss()
    net_g.train()
    net_d.train()
    for real, _ in train_loader:
        one, zero = torch.ones(len(real), 1), torch.zeros(len(real), 1)
        fake = net_g(z)
        opt_g.zero_grad()
        loss_g = bce(net_d(fake), one)
        loss_g.backward()
        opt_d.zero_grad()
        opt_g.step()
        loss_d = bce(net_d(real), one) + bce(net_d(fake.detach()), zero)
        loss_d.backward()
        opt_d.step()
""",
    "two passes": TOP
    + """
def train(model, train_loader, optimizer):
    model.train()
    for x, y in train_loader:
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.first_step()
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
""",
    "a broken batch": loop(
        """
        loss = criterion(model(x), y)
        loss.backward()
        if not torch.isfinite(loss):
            optimizer.zero_grad()
            continue
        optimizer.step()
        optimizer.zero_grad()
        """
    ),
    "a batch that is left out": loop(
        """
        loss = criterion(model(x), y)
        loss.backward()
        if loss.item() > 100:
            optimizer.zero_grad()
        optimizer.step()
        optimizer.zero_grad()
        """
    ),
    "gradients that are mixed": TOP
    + """
def train(model, train_loader, mix):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        F.cross_entropy(model(x), y).backward()
        old = [p.grad.clone() for p in model.parameters()]
        optimizer.zero_grad()
        for p, g in zip(model.parameters(), mix(old)):
            p.grad = g
        optimizer.step()
""",
    "at the end": loop(
        """
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        model.zero_grad()
        """
    ),
}


@pytest.mark.parametrize("text", OUTSIDE.values(), ids=OUTSIDE)
def test_a_zero_grad_per_epoch_is_found(text: str) -> None:
    assert rules_in(text) == ["zero-grad-outside-loop"]


@pytest.mark.parametrize("text", WHOLE_EPOCHS.values(), ids=WHOLE_EPOCHS)
def test_clearing_once_per_update_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", AFTER.values(), ids=AFTER)
def test_clearing_before_the_update_is_found(text: str) -> None:
    assert rules_in(text) == ["zero-grad-after-backward"]


@pytest.mark.parametrize("text", IN_ORDER.values(), ids=IN_ORDER)
def test_another_order_that_works_is_silent(text: str) -> None:
    assert rules_in(text) == []
