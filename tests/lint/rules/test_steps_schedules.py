"""Rules on where schedulers are stepped."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

from .steps_programs import TOP, loop, plain

EARLY = {
    "in the batch": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        scheduler.step()
        optimizer.step()
        """,
        "scheduler = lr_scheduler.LambdaLR(optimizer, lambda i: min(1.0, i / 500))",
    ),
    "in a caller": TOP
    + """
def train_one_epoch(model, train_loader, optimizer):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

def main(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.MultiStepLR(optimizer, milestones=[30, 60])
    for epoch in range(90):
        scheduler.step()
        train_one_epoch(model, train_loader, optimizer)
""",
    "in a class": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)
        self.lr = lr_scheduler.ExponentialLR(self.optimizer, 0.9)

    def fit(self, train_loader, epochs):
        for epoch in range(epochs):
            self.lr.step()
            self.model.train()
            for x, y in train_loader:
                self.optimizer.zero_grad()
                F.cross_entropy(self.model(x), y).backward()
                self.optimizer.step()
""",
    "with a scaler": loop(
        """
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward()
        scheduler.step()
        scaler.step(optimizer)
        scaler.update()
        """,
        """
        scaler = torch.amp.GradScaler()
        scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * len(train_loader))
        """,
    ),
    "of the transformers": """
import torch
from transformers import get_linear_schedule_with_warmup

def train(model, train_loader, epochs):
    total = epochs * len(train_loader)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    scheduler = get_linear_schedule_with_warmup(optimizer, 100, total)
    model.train()
    for epoch in range(epochs):
        for batch in train_loader:
            scheduler.step()
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
""",
}

IN_TIME = {
    "per epoch": plain("scheduler.step()", "scheduler = lr_scheduler.StepLR(optimizer, 10)"),
    "a condition": TOP
    + """
def main(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.MultiStepLR(optimizer, milestones=[30, 60])
    model.train()
    for epoch in range(90):
        if epoch > 0:
            scheduler.step()
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
""",
    "an argument": TOP
    + """
def main(model, train_loader, make_scheduler):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = make_scheduler(optimizer)
    model.train()
    for epoch in range(90):
        scheduler.step(epoch)
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
""",
    "two optimizers": TOP
    + """
def main(net, head, train_loader):
    first = optim.SGD(net.parameters(), lr=0.1)
    second = optim.SGD(head.parameters(), lr=0.1)
    scheduler = lr_scheduler.LambdaLR(first, lambda i: 0.999**i)
    net.train()
    head.train()
    for x, y in train_loader:
        first.zero_grad()
        second.zero_grad()
        F.cross_entropy(head(net(x)), y).backward()
        first.step()
        scheduler.step()
        second.step()
""",
    "after the update": plain(
        setup="scheduler = lr_scheduler.LambdaLR(optimizer, lambda i: 0.9999**i)",
        last="scheduler.step()",
    ),
}

PER_BATCH = {
    "StepLR": plain(
        setup="scheduler = lr_scheduler.StepLR(optimizer, step_size=10, gamma=0.1)",
        last="scheduler.step()",
    ),
    "ExponentialLR": plain(
        setup="scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)",
        last="scheduler.step()",
    ),
    "MultiStepLR": plain(
        setup="scheduler = lr_scheduler.MultiStepLR(optimizer, milestones=[30, 60, 90])",
        last="scheduler.step()",
    ),
    "ReduceLROnPlateau": plain(
        setup="scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=5)",
        last="scheduler.step(loss.item())",
    ),
    "a number of epochs": TOP
    + """
def main(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    model.train()
    for epoch in range(50):
        for x, y in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()
""",
    "another function": TOP
    + """
def train_one_epoch(model, train_loader, optimizer, scheduler):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        scheduler.step()

def main(model, train_loader, args):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=args.epochs)
    for epoch in range(args.epochs):
        train_one_epoch(model, train_loader, optimizer, scheduler)
""",
}

COUNTS_BATCHES = {
    "cosine": plain(
        setup="scheduler = lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(train_loader))",
        last="scheduler.step()",
    ),
    "cosine in a name": plain(
        setup="""
        total_steps = epochs * len(train_loader)
        scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=total_steps)
        """,
        last="scheduler.step()",
    ),
    "a slow decay": plain(
        setup="scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9999)",
        last="scheduler.step()",
    ),
    "far milestones": plain(
        setup="scheduler = lr_scheduler.MultiStepLR(optimizer, milestones=[32000, 48000])",
        last="scheduler.step()",
    ),
    "one loop over epochs": TOP
    + """
def fit(model, x, y, epochs):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    model.train()
    for epoch in range(epochs):
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()
        scheduler.step()
""",
    "at the end of the epoch": plain(
        setup="scheduler = lr_scheduler.StepLR(optimizer, step_size=10)",
        last="""
        if i + 1 == len(train_loader):
            scheduler.step()
        """,
    ),
}

PER_EPOCH = {
    "total steps": plain(
        "scheduler.step()",
        """
        most = epochs * len(train_loader)
        scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=most)
        """,
    ),
    "cosine": plain(
        "scheduler.step()",
        "scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=len(train_loader) * epochs)",
    ),
    "of the transformers": """
import torch
from transformers import get_cosine_schedule_with_warmup

def train(model, train_loader, epochs):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    num_training_steps = epochs * len(train_loader)
    scheduler = get_cosine_schedule_with_warmup(
        optimizer, num_warmup_steps=100, num_training_steps=num_training_steps
    )
    model.train()
    for epoch in range(epochs):
        for batch in train_loader:
            optimizer.zero_grad()
            loss = model(**batch).loss
            loss.backward()
            optimizer.step()
        scheduler.step()
""",
    "a function": TOP
    + """
def train_one_epoch(model, train_loader, optimizer):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

def main(model, train_loader, epochs):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, epochs=epochs, steps_per_epoch=len(train_loader)
    )
    for epoch in range(epochs):
        train_one_epoch(model, train_loader, optimizer)
        scheduler.step()
""",
    "lightning": """
import torch
import torch.nn.functional as F
import lightning as L

class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(8, 2)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.1, total_steps=self.trainer.estimated_stepping_batches
        )
        return [optimizer], [scheduler]
""",
}

COUNTS_EPOCHS = {
    "one cycle of epochs": plain(
        "scheduler.step()",
        "scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=epochs)",
    ),
    "cosine of epochs": plain(
        "scheduler.step()", "scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)"
    ),
    "per batch": plain(
        setup="""
        steps = epochs * len(train_loader)
        scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)
        """,
        last="scheduler.step()",
    ),
    "warmup in epochs": """
import torch
from transformers import get_cosine_schedule_with_warmup

def train(model, train_loader, epochs):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-5)
    scheduler = get_cosine_schedule_with_warmup(optimizer, 5, epochs)
    model.train()
    for epoch in range(epochs):
        for batch in train_loader:
            optimizer.zero_grad()
            model(**batch).loss.backward()
            optimizer.step()
        scheduler.step()
""",
    "lightning, per step": """
import torch
import torch.nn.functional as F
import lightning as L

class Net(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(8, 2)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.1, total_steps=self.trainer.estimated_stepping_batches
        )
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]
""",
}


@pytest.mark.parametrize("text", EARLY.values(), ids=EARLY)
def test_a_schedule_before_the_update_is_found(text: str) -> None:
    assert rules_in(text) == ["scheduler-before-optimizer"]


@pytest.mark.parametrize("text", IN_TIME.values(), ids=IN_TIME)
def test_a_schedule_after_the_update_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", PER_BATCH.values(), ids=PER_BATCH)
def test_a_schedule_of_epochs_per_batch_is_found(text: str) -> None:
    assert rules_in(text) == ["scheduler-every-batch"]
    assert found_in(text)[0].severity == "error"


@pytest.mark.parametrize("text", COUNTS_BATCHES.values(), ids=COUNTS_BATCHES)
def test_a_schedule_of_batches_per_batch_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", PER_EPOCH.values(), ids=PER_EPOCH)
def test_a_schedule_of_steps_per_epoch_is_found(text: str) -> None:
    assert rules_in(text) == ["scheduler-every-epoch"]


@pytest.mark.parametrize("text", COUNTS_EPOCHS.values(), ids=COUNTS_EPOCHS)
def test_a_schedule_in_its_own_unit_is_silent(text: str) -> None:
    assert rules_in(text) == []
