"""Rules on gradients that are summed and clipped."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

from .steps_programs import TOP, loop

EVERY = """
if (i + 1) % 4 == 0:
    optimizer.step()
    optimizer.zero_grad()
"""

SUMMED = {
    "a constant": loop("loss = criterion(model(x), y)\nloss.backward()" + EVERY),
    "at once": loop("criterion(model(x), y).backward()" + EVERY),
    "the last batch too": loop(
        """
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if (i + 1) % n_accumulate == 0 or i + 1 == len(train_loader):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        """,
        parameters=", n_accumulate=8",
    ),
    "in a class": TOP
    + """
class Trainer:
    def __init__(self, model, accumulate):
        self.model = model
        self.accumulate = accumulate
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)

    def fit(self, train_loader):
        self.model.train()
        for i, (x, y) in enumerate(train_loader):
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            if (i + 1) % self.accumulate == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
""",
    "of the transformers": """
import torch

def train(model, train_loader, args):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    model.train()
    for step, batch in enumerate(train_loader):
        outputs = model(**batch)
        loss = outputs.loss
        loss.backward()
        if (step + 1) % args.gradient_accumulation_steps == 0:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
""",
    "mixed precision": loop(
        """
        with torch.autocast("cuda"):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        if (i + 1) % 4 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        """,
        "scaler = torch.amp.GradScaler()",
    ),
    "a remainder": loop(
        """
        loss = criterion(model(x), y)
        loss.backward()
        if i % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
        """
    ),
}

AVERAGED = {
    "in the loss": loop("loss = criterion(model(x), y) / 4\nloss.backward()" + EVERY),
    "in place": loop("loss = criterion(model(x), y)\nloss /= 4\nloss.backward()" + EVERY),
    "at the call": loop("loss = criterion(model(x), y)\n(loss / 4).backward()" + EVERY),
    "by a factor": loop("loss = 0.25 * criterion(model(x), y)\nloss.backward()" + EVERY),
    "a new name": loop(
        "loss = criterion(model(x), y)\nscaled = loss / 4\nscaled.backward()" + EVERY
    ),
    "a sum on purpose": loop(
        "loss = F.cross_entropy(model(x), y, reduction='sum')\nloss.backward()" + EVERY
    ),
    "a sum, made before": TOP
    + """
def train(model, train_loader):
    criterion = nn.CrossEntropyLoss(reduction="sum")
    optimizer = optim.SGD(model.parameters(), lr=1e-3)
    model.train()
    for i, (x, y) in enumerate(train_loader):
        loss = criterion(model(x), y)
        loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
""",
    "the gradients": loop(
        """
        loss = criterion(model(x), y)
        loss.backward()
        if (i + 1) % 4 == 0:
            for p in model.parameters():
                p.grad /= 4
            optimizer.step()
            optimizer.zero_grad()
        """
    ),
    "the rate": TOP
    + """
def train(model, train_loader, lr, n):
    optimizer = optim.SGD(model.parameters(), lr=lr / n)
    model.train()
    for i, (x, y) in enumerate(train_loader):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if (i + 1) % n == 0:
            optimizer.step()
            optimizer.zero_grad()
""",
    "accelerate": """
from accelerate import Accelerator
from torch import optim

def train(model, train_loader):
    accelerator = Accelerator(gradient_accumulation_steps=4)
    optimizer = optim.AdamW(model.parameters(), lr=1e-4)
    model, optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)
    model.train()
    for batch in train_loader:
        with accelerator.accumulate(model):
            loss = model(**batch).loss
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
""",
    "a loss of its own": TOP
    + """
def train(model, train_loader, compute_loss):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for i, batch in enumerate(train_loader):
        loss = compute_loss(model, batch)
        loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
""",
    "a critic": TOP
    + """
def train(net_g, net_d, train_loader, z):
    opt_g = optim.RMSprop(net_g.parameters(), lr=5e-5)
    opt_d = optim.RMSprop(net_d.parameters(), lr=5e-5)
    net_g.train()
    net_d.train()
    for i, (real, _) in enumerate(train_loader):
        opt_d.zero_grad()
        loss_d = net_d(net_g(z).detach()).mean() - net_d(real).mean()
        loss_d.backward()
        opt_d.step()
        with torch.no_grad():
            for p in net_d.parameters():
                p.clamp_(-0.01, 0.01)
        if i % 5 == 0:
            opt_g.zero_grad()
            loss_g = -net_d(net_g(z)).mean()
            loss_g.backward()
            opt_g.step()
""",
}

MISPLACED = {
    "after the step": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        """
    ),
    "by value": loop(
        """
        optimizer.zero_grad()
        nn.utils.clip_grad_value_(model.parameters(), 0.5)
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        """
    ),
    "before all": loop(
        """
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
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
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        accelerator.backward(loss)
        optimizer.step()
""",
    "in a class": TOP
    + """
from torch.nn.utils import clip_grad_norm_

class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)

    def step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        clip_grad_norm_(self.model.parameters(), 1.0)
        return loss.item()
""",
    "after a step of some batches": loop(
        """
        loss = criterion(model(x), y) / 4
        loss.backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.zero_grad()
        """
    ),
}

IN_PLACE = {
    "under a condition": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        if clip > 0:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        """,
        parameters=", clip=1.0",
    ),
    "the step of the batch before": loop(
        """
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        """
    ),
    "two losses": loop(
        """
        optimizer.zero_grad()
        criterion(model.head(x), y).backward()
        nn.utils.clip_grad_norm_(model.head.parameters(), 1.0)
        criterion(model.body(x), y).backward()
        nn.utils.clip_grad_norm_(model.body.parameters(), 1.0)
        optimizer.step()
        """
    ),
    "two optimizers": TOP
    + """
def train(net, head, train_loader):
    first = optim.SGD(net.parameters(), lr=0.1)
    second = optim.SGD(head.parameters(), lr=0.1)
    net.train()
    head.train()
    for x, y in train_loader:
        first.zero_grad()
        second.zero_grad()
        F.cross_entropy(head(net(x)), y).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        first.step()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        second.step()
""",
    "a helper": TOP
    + """
def update(model, optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return norm

def train(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        update(model, optimizer, F.cross_entropy(model(x), y))
""",
    "the weights": loop(
        """
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
        with torch.no_grad():
            for p in model.parameters():
                p.clamp_(-1, 1)
        """
    ),
}


@pytest.mark.parametrize("text", SUMMED.values(), ids=SUMMED)
def test_a_sum_of_gradients_is_found(text: str) -> None:
    assert rules_in(text) == ["gradient-accumulation-not-divided"]
    assert found_in(text)[0].severity == "warning"


@pytest.mark.parametrize("text", AVERAGED.values(), ids=AVERAGED)
def test_a_mean_of_gradients_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", MISPLACED.values(), ids=MISPLACED)
def test_misplaced_clipping_is_found(text: str) -> None:
    assert rules_in(text) == ["misplaced-clipping"]


@pytest.mark.parametrize("text", IN_PLACE.values(), ids=IN_PLACE)
def test_clipping_in_its_place_is_silent(text: str) -> None:
    assert rules_in(text) == []
