"""Modules that no optimizer has, generators that are used up, and models in half precision."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

FORGOTTEN = [
    """\
    import torch
    from torch import nn, optim

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(8, 16)

        def forward(self, x):
            return self.rnn(x)[1]

    def train(encoder, head, loader, loss_fn, optimizer):
        encoder.train()
        head.train()
        for x, y in loader:
            optimizer.zero_grad()
            z = encoder(x)
            loss = loss_fn(head(z), y)
            loss.backward()
            optimizer.step()

    def main(loader):
        encoder = Encoder()
        head = nn.Linear(16, 4)
        optimizer = optim.Adam(head.parameters(), lr=1e-3)
        for epoch in range(10):
            train(encoder, head, loader, nn.CrossEntropyLoss(), optimizer)
    """,
    """\
    import torch
    from torch import nn

    class Trainer:
        def __init__(self, device):
            self.encoder = nn.Linear(20, 8).to(device)
            self.decoder = nn.Linear(8, 20).to(device)
            self.loss_fn = nn.MSELoss()
            self.optimizer = torch.optim.Adam(self.encoder.parameters(), lr=1e-3)

        def step(self, x):
            self.optimizer.zero_grad()
            z = self.encoder(x).relu()
            loss = self.loss_fn(self.decoder(z), x)
            loss.backward()
            self.optimizer.step()
            return loss.item()
    """,
    """\
    import torch
    from torch import nn
    import lightning as L

    class Net(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(20, 8)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(self.encoder(x).relu())

        def training_step(self, batch, batch_idx):
            x, y = batch
            return nn.functional.cross_entropy(self(x), y)

        def configure_optimizers(self):
            return torch.optim.Adam(self.head.parameters())
    """,
    """\
    import torch
    from torch import nn

    def gan(loader):
        G = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
        D = nn.Linear(2, 1)
        bce = nn.BCEWithLogitsLoss()
        opt = torch.optim.Adam(D.parameters(), lr=1e-4)
        for real, _ in loader:
            fake = G(torch.randn(len(real), 8))
            opt.zero_grad()
            out = D(fake)
            loss = bce(D(real), torch.ones_like(out)) + bce(out, torch.zeros_like(out))
            loss.backward()
            opt.step()
    """,
    """\
    import torch
    from torch import nn

    embedding = nn.Embedding(1000, 32)
    classifier = nn.Linear(32, 2)
    optimizer = torch.optim.SGD(params=classifier.parameters(), lr=0.1)
    loss_fn = nn.CrossEntropyLoss()

    def fit(loader):
        for words, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(classifier(embedding(words).mean(1)), y)
            loss.backward()
            optimizer.step()
    """,
]


@pytest.mark.parametrize("text", FORGOTTEN)
def test_a_module_without_an_optimizer_is_found(text: str) -> None:
    assert rules_in(text) == ["parameters-not-in-optimizer"]


TWO = """\
import torch
from torch import nn

def train(loader):
    one = nn.Linear(20, 8)
    two = nn.Linear(8, 20)
    loss_fn = nn.MSELoss()
    {made}
    for x, _ in loader:
        optimizer.zero_grad()
        loss = loss_fn(two(one(x).relu()), x)
        loss.backward()
        optimizer.step()
"""
GIVEN = [
    TWO.format(
        made="optimizer = torch.optim.Adam(list(one.parameters()) + list(two.parameters()))"
    ),
    TWO.format(
        made="both = nn.ModuleList([one, two]); optimizer = torch.optim.Adam(both.parameters())"
    ),
    TWO.format(
        made="optimizer = torch.optim.Adam([p for m in (one, two) for p in m.parameters()])"
    ),
    TWO.format(
        made="params = list(one.parameters()); params += list(two.parameters());"
        " optimizer = torch.optim.Adam(params)"
    ),
    TWO.format(made="one.requires_grad_(False); optimizer = torch.optim.Adam(two.parameters())"),
    TWO.format(made="one.eval(); optimizer = torch.optim.Adam(two.parameters())"),
    TWO.format(made="one.load_state_dict(W); optimizer = torch.optim.Adam(two.parameters())"),
    TWO.format(made="optimizer = torch.optim.Adam(two.parameters())").replace(
        "one(x).relu()", "one(x).detach()"
    ),
    TWO.format(made="optimizer = make(two.parameters(), one)"),
    TWO.format(made="optimizer = torch.optim.Adam(two.parameters())").replace("one", "target_net"),
    TWO.format(
        made="other = torch.optim.SGD(one.parameters(), lr=1); optimizer ="
        " torch.optim.Adam(two.parameters())"
    ),
]


@pytest.mark.parametrize("text", GIVEN)
def test_modules_that_are_given_or_frozen_are_none(text: str) -> None:
    assert "parameters-not-in-optimizer" not in rules_in(text)


def test_a_head_alone_is_a_hint() -> None:
    text = """\
    import torch
    from torch import nn
    from torchvision import models

    def train(loader):
        model = models.resnet18()
        model.fc = nn.Linear(512, 4)
        loss_fn = nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.fc.parameters())
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
    """
    assert [(one.rule, one.severity) for one in found_in(text)] == [
        ("parameters-not-in-optimizer", "hint")
    ]


TRAIN = """\
import itertools
import torch
from torch import nn

def train(model, head, loader):
    loss_fn = nn.CrossEntropyLoss()
    {made}
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(head(model(x)), y)
        loss.backward()
        {clip}
        optimizer.step()
"""
CLIP = "torch.nn.utils.clip_grad_norm_(params, max_norm=1.0)"
SGD = "optimizer = torch.optim.SGD(params, lr=0.1)"
USED_UP = [
    TRAIN.format(
        made=f"params = filter(lambda p: p.requires_grad, model.parameters()); {SGD}", clip=CLIP
    ),
    TRAIN.format(
        made=f"params = itertools.chain(model.parameters(), head.parameters()); {SGD}", clip=CLIP
    ),
    TRAIN.format(
        made=f"params = (p for p in model.parameters() if p.requires_grad); {SGD}", clip=CLIP
    ),
    TRAIN.format(
        made=f"params = model.parameters(); print(sum(p.numel() for p in params)); {SGD}",
        clip="pass",
    ),
    TRAIN.format(
        made="params = model.parameters(); optimizer = torch.optim.SGD(head.parameters(), lr=0.1)",
        clip="nn.utils.clip_grad_value_(params, 0.5)",
    ),
    """\
    import torch
    from torch import nn

    class Trainer:
        def __init__(self, model):
            self.model = model
            self.params = self.model.parameters()
            self.optimizer = torch.optim.Adam(self.params, lr=1e-3)
            self.loss_fn = nn.MSELoss()

        def fit(self, train_loader):
            self.model.train()
            for x, y in train_loader:
                self.optimizer.zero_grad()
                self.loss_fn(self.model(x), y).backward()
                nn.utils.clip_grad_norm_(self.params, 1.0)
                self.optimizer.step()
    """,
]


@pytest.mark.parametrize("text", USED_UP)
def test_an_empty_generator_is_found(text: str) -> None:
    assert rules_in(text) == ["parameters-generator-used-twice"]


NOT_USED_UP = [
    TRAIN.format(made=f"params = [p for p in model.parameters()]; {SGD}", clip=CLIP),
    TRAIN.format(made=f"params = list(model.parameters()); {SGD}", clip=CLIP),
    TRAIN.format(made=f"params = model.parameters(); {SGD}", clip="pass"),
    TRAIN.format(
        made=f"params = model.parameters(); {SGD}",
        clip="torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)",
    ),
    TRAIN.format(
        made=SGD.replace("params", "model.parameters()"),
        clip=f"params = model.parameters(); {CLIP}",
    ),
    """\
    import torch

    def make(model, name):
        params = model.parameters()
        if name == "sgd":
            optimizer = torch.optim.SGD(params, lr=0.1)
        else:
            optimizer = torch.optim.Adam(params)
        return optimizer
    """,
]


@pytest.mark.parametrize("text", NOT_USED_UP)
def test_a_list_or_a_single_use_is_none(text: str) -> None:
    assert rules_in(text) == []


HALF = """\
import torch
from torch import nn

def train(net, teacher, loader):
    {before}
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.{kind}(net.parameters(), lr=1e-3)
    {after}
    net.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
"""
IN_HALF = [
    HALF.format(before="net = net.half()", after="", kind="SGD"),
    HALF.format(before="net.to(torch.float16)", after="", kind="AdamW"),
    HALF.format(before="net = net.to('cpu', dtype=torch.half)", after="", kind="Adam"),
    HALF.format(before="net = nn.Linear(4, 2).half()", after="", kind="Adam"),
    """\
    import torch
    from torch import nn

    class Trainer:
        def __init__(self, model):
            self.model = model
            self.model.half()
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
            self.loss_fn = nn.MSELoss()

        def fit(self, train_loader):
            self.model.train()
            for x, y in train_loader:
                self.optimizer.zero_grad()
                self.loss_fn(self.model(x), y).backward()
                self.optimizer.step()
    """,
]


@pytest.mark.parametrize("text", IN_HALF)
def test_training_in_half_precision_is_found(text: str) -> None:
    assert rules_in(text) == ["half-with-plain-optimizer"]


NOT_IN_HALF = [
    HALF.format(before="net.to(torch.bfloat16)", after="", kind="Adam"),
    HALF.format(before="teacher.half()", after="", kind="Adam"),
    HALF.format(before="", after="scaler = torch.amp.GradScaler(); net.half()", kind="Adam"),
    HALF.format(before="", after="", kind="Adam") + "    net.half()\n    net.eval()\n",
    HALF.format(before="net.half(); net.float()", after="", kind="Adam"),
    """\
    import torch

    def predict(model, x):
        model.half()
        model.eval()
        with torch.no_grad():
            return model(x.half())
    """,
]


@pytest.mark.parametrize("text", NOT_IN_HALF)
def test_other_uses_of_half_are_none(text: str) -> None:
    assert "half-with-plain-optimizer" not in rules_in(text)
