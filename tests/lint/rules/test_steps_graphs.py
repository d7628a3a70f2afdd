"""Rules on graphs that are kept, used twice or watched."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

from .steps_programs import TOP, loop, plain

KEPT = {
    "a sum, weighted": plain(setup="total = 0.0", last="total += loss * x.size(0)"),
    "a list": plain(setup="losses = []", last="losses.append(loss)"),
    "a dict of lists": plain(setup='history = {"loss": []}', last='history["loss"].append(loss)'),
    "an assignment": plain(setup="total = 0.0", last="total = total + loss"),
    "a moving average": plain(setup="average = 0.0", last="average = 0.9 * average + 0.1 * loss"),
    "in a class": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)
        self.losses = []

    def fit(self, train_loader):
        self.model.train()
        for x, y in train_loader:
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            self.losses.append(loss)
""",
    "of a helper": TOP
    + """
def train_step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss

def train(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    losses = []
    for x, y in train_loader:
        loss = train_step(model, optimizer, x, y)
        losses.append(loss)
    return losses
""",
    "accelerate": """
from accelerate import Accelerator
from torch import optim

def train(model, train_loader):
    accelerator = Accelerator()
    optimizer = optim.AdamW(model.parameters(), lr=1e-4)
    model, optimizer, train_loader = accelerator.prepare(model, optimizer, train_loader)
    model.train()
    losses = []
    for batch in train_loader:
        optimizer.zero_grad()
        loss = model(**batch).loss
        accelerator.backward(loss)
        optimizer.step()
        losses.append(loss)
""",
}

DETACHED = {
    "item": plain(setup="total = 0.0", last="total += loss.item() * len(x)"),
    "detach": plain(setup="losses = []", last="losses.append(loss.detach())"),
    "float": plain(setup="losses = []", last="losses.append(float(loss))"),
    "a number by the same name": plain(
        setup="losses = []", last="loss = loss.item()\nlosses.append(loss)"
    ),
    "detached and moved": plain(setup="losses = []", last="losses.append(loss.detach().cpu())"),
    "parts of one loss": TOP
    + """
def train(model, train_loader, heads):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, ys in train_loader:
        optimizer.zero_grad()
        total = 0.0
        for head, y in zip(heads, ys):
            loss = F.cross_entropy(head(model(x)), y)
            total += loss
        total.backward()
        optimizer.step()
""",
    "the losses of an episode": TOP
    + """
def train(policy, env, episodes):
    optimizer = optim.Adam(policy.parameters(), lr=1e-2)
    policy.train()
    for _ in range(episodes):
        losses = []
        state, done = env.reset(), False
        while not done:
            distribution = torch.distributions.Categorical(logits=policy(state))
            action = distribution.sample()
            state, reward, done = env.step(action.item())
            losses.append(-distribution.log_prob(action) * reward)
        optimizer.zero_grad()
        loss = torch.stack(losses).sum()
        loss.backward()
        optimizer.step()
""",
    "a number of a helper": TOP
    + """
def train_step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.item()

def train(model, train_loader):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    losses = []
    for x, y in train_loader:
        loss = train_step(model, optimizer, x, y)
        losses.append(loss)
    return losses
""",
    "of each pass": plain(last="total = 0.0\ntotal += loss\nprint(total)"),
}

TWICE = {
    "scaled": loop(
        """
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        if i % 10 == 0:
            loss.backward()
        optimizer.step()
        """
    ),
    "an older loss": TOP
    + """
def fit(model, x, y):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    loss = F.mse_loss(model(x), y)
    for _ in range(100):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    "an older loss of a class": TOP
    + """
class Fit:
    def run(self, model, x, y):
        criterion = nn.MSELoss()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        model.train()
        output = model(x)
        loss = criterion(output, y)
        for epoch in range(100):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            print(epoch, loss.item())
""",
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
        loss = F.cross_entropy(head(net(x)), y)
        loss.backward()
        first.step()
        loss.backward()
        second.step()
""",
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
        opt.zero_grad()
        loss = F.cross_entropy(self.net(x), y)
        self.manual_backward(loss)
        self.manual_backward(loss)
        opt.step()
""",
}

ONCE = {
    "two losses": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        other = F.cross_entropy(model(x.flip(-1)), y)
        loss.backward()
        other.backward()
        optimizer.step()
        """
    ),
    "a new loss by the same name": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        loss = criterion(model(x.flip(-1)), y)
        loss.backward()
        optimizer.step()
        """
    ),
    "kept for the second": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward(retain_graph=True)
        loss.backward()
        optimizer.step()
        """
    ),
    "two branches": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        if sync:
            loss.backward()
        else:
            with model.no_sync():
                loss.backward()
        optimizer.step()
        """,
        parameters=", sync=True",
    ),
    "shown to fail": TOP
    + """
def show(model, x, y):
    loss = F.mse_loss(model(x), y)
    loss.backward()
    try:
        loss.backward()
    except RuntimeError as error:
        print(error)
""",
    "without saved tensors": TOP
    + """
def show():
    x = torch.ones(3, requires_grad=True)
    y = 2 * x.sum()
    y.backward()
    y.backward()
    return x.grad
""",
    "of an attack": TOP
    + """
def attack(model, x, y, steps):
    model.eval()
    for _ in range(steps):
        x = x.detach().requires_grad_()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        x = x + 0.01 * x.grad.sign()
    return x
""",
}

RETAINED = {
    "at once": loop(
        """
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward(retain_graph=True)
        optimizer.step()
        """
    ),
    "a hidden state": TOP
    + """
def train(model, train_loader, hidden):
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        output, hidden = model(x, hidden)
        loss = F.cross_entropy(output, y)
        loss.backward(retain_graph=True)
        optimizer.step()
""",
    "a scaled loss": loop(
        """
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = criterion(model(x), y)
        scaler.scale(loss).backward(retain_graph=True)
        scaler.step(optimizer)
        scaler.update()
        """,
        "scaler = torch.amp.GradScaler()",
    ),
    "in a class": TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)

    def train_step(self, x, y):
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward(retain_graph=True)
        self.optimizer.step()

    def fit(self, train_loader):
        self.model.train()
        for x, y in train_loader:
            self.train_step(x, y)
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
        loss.backward(retain_graph=True)
        optimizer.step()
        steps += 1
""",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_a_loss_that_keeps_its_graph_is_found(text: str) -> None:
    assert rules_in(text) == ["loss-accumulated-with-graph"]
    assert found_in(text)[0].severity == "warning"


@pytest.mark.parametrize("text", DETACHED.values(), ids=DETACHED)
def test_a_loss_without_its_graph_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", TWICE.values(), ids=TWICE)
def test_the_same_loss_twice_is_found(text: str) -> None:
    assert rules_in(text) == ["backward-twice"]


@pytest.mark.parametrize("text", ONCE.values(), ids=ONCE)
def test_losses_that_are_not_the_same_are_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", RETAINED.values(), ids=RETAINED)
def test_a_graph_that_is_kept_is_a_hint(text: str) -> None:
    assert [(one.rule, one.severity) for one in found_in(text)] == [("retain-graph", "hint")]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("torch.autograd.set_detect_anomaly(True)", True),
        ("torch.autograd.set_detect_anomaly(mode=True)", True),
        ("torch.autograd.set_detect_anomaly(True, check_nan=True)", True),
        ("torch.autograd.set_detect_anomaly(False)", False),
        ("torch.autograd.set_detect_anomaly(debug)", False),
        ("if debug:\n    torch.autograd.set_detect_anomaly(True)", False),
    ],
)
def test_anomaly_detection_is_a_hint_where_no_flag_guards_it(line: str, found: bool) -> None:
    text = plain(setup=f"debug = bool(epochs)\n{line}")
    assert rules_in(text) == ["anomaly-detection-left-on"] * found
