"""Losses without a graph, and forward passes under no_grad."""

from __future__ import annotations

import textwrap

import pytest

from tests.lint.asked import rules_in

HEAD = """\
import torch
import torch.nn.functional as F
from torch import nn

def train(model, loader, device):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for x, y in loader:
        x, y = x.to(device), y.to(device)
        optimizer.zero_grad()
"""
TAIL = """\
        loss.backward()
        optimizer.step()
"""


def step(body: str, tail: str = TAIL) -> str:
    return HEAD + textwrap.indent(textwrap.dedent(body), " " * 8) + tail


CUT = [
    step("loss = criterion(model(x), y).item()\n"),
    step("loss = criterion(model(x).detach(), y)\n"),
    step("out = model(x)\nloss = F.cross_entropy(out.data, y)\nloss.requires_grad_()\n"),
    step("loss = torch.tensor(criterion(model(x), y), requires_grad=True)\n"),
    step("loss = criterion(model(x), y)\n", TAIL.replace("loss.", "loss.detach().")),
    step("loss = criterion(model(x), y)\nloss = float(loss)\n"),
    step(
        "out = model(x).detach().numpy()\n"
        "loss = criterion(torch.from_numpy(out).to(device), y)\n"
        "loss.requires_grad_(True)\n"
    ),
    step(
        "loss = criterion(model(x), y)\ntotal = 0\ntotal += loss.item()\n",
        "        total.backward()\n        optimizer.step()\n",
    ),
    step("loss = criterion(model(x), y)\nloss.requires_grad = True\n"),
    step("loss = torch.tensor(F.cross_entropy(model(x), y).tolist(), requires_grad=True)\n"),
    """\
    import torch
    from torch import nn, optim

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def forward(self, x):
            return self.fc(x).detach()

    def fit(loader):
        net, mse = Net(), nn.MSELoss()
        optimizer = optim.Adam(net.parameters())
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = mse(net(x), y)
            loss.backward()
            optimizer.step()
    """,
    """\
    import torch
    from torch import nn

    class Trainer:
        def __init__(self, model):
            self.model = model
            self.criterion = nn.CrossEntropyLoss()
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

        def compute(self, x, y):
            return self.criterion(self.model(x), y).item()

        def fit(self, train_loader):
            self.model.train()
            for x, y in train_loader:
                self.optimizer.zero_grad()
                loss = self.compute(x, y)
                loss.backward()
                self.optimizer.step()
    """,
    """\
    import lightning as L
    import torch
    from torch import nn

    class Net(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 4)

        def training_step(self, batch, batch_idx):
            x, y = batch
            loss = nn.functional.cross_entropy(self.fc(x), y)
            self.log("loss", loss)
            return loss.detach()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())
    """,
]


@pytest.mark.parametrize("text", CUT)
def test_a_loss_that_lost_its_graph_is_found(text: str) -> None:
    found = rules_in(text)
    assert [name for name in found if name != "data-attribute"] == ["loss-cut-from-graph"]


UNCUT = [
    step("loss = criterion(model(x), y)\nprint(loss.item(), float(loss), loss.detach())\n"),
    """\
    import torch
    import torch.nn.functional as F

    def distill(student, teacher, loader):
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        teacher.eval()
        student.train()
        for x, y in loader:
            optimizer.zero_grad()
            soft = F.softmax(teacher(x).detach() / 2, dim=1)
            logits = student(x)
            loss = F.kl_div(F.log_softmax(logits / 2, dim=1), soft, reduction="batchmean")
            loss = loss + F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
    """,
    """\
    import torch
    import torch.nn.functional as F

    def actor_critic(policy, optimizer, states, actions, returns):
        log_probs, values = policy(states, actions)
        advantage = (returns - values).detach()
        loss = -(log_probs * advantage).mean() + F.mse_loss(values, returns)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    """,
    """\
    import torch

    def in_parts(model, head, loss_fn, optimizer, loader):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            features = model(x)
            leaf = features.detach().requires_grad_()
            loss = loss_fn(leaf, y)
            loss.backward()
            features.backward(leaf.grad)
            optimizer.step()
    """,
    """\
    import torch
    import torch.nn.functional as F

    def attack(model, image, label):
        x = image.clone().detach().requires_grad_(True)
        loss = F.cross_entropy(model(x), label)
        loss.backward()
        return (image + 0.03 * x.grad.sign()).detach()
    """,
    """\
    import torch

    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = (x**2).sum()
    y.backward()
    print(x.grad)
    """,
    """\
    import torch
    from torch import nn

    def gan(G, D, opt_g, opt_d, loader):
        bce = nn.BCEWithLogitsLoss()
        G.train()
        D.train()
        for real, _ in loader:
            fake = G(torch.randn(real.size(0), 100))
            opt_d.zero_grad()
            out = D(fake.detach())
            loss_d = bce(D(real), torch.ones_like(out)) + bce(out, torch.zeros_like(out))
            loss_d.backward()
            opt_d.step()
            opt_g.zero_grad()
            out = D(fake)
            loss_g = bce(out, torch.ones_like(out))
            loss_g.backward()
            opt_g.step()
    """,
    step(
        "losses = []\n"
        "for part in model(x):\n"
        "    losses.append(criterion(part, y))\n"
        "loss = torch.stack(losses).mean()\n"
    ),
    step("loss = torch.zeros(())\nloss = loss + criterion(model(x), y)\n"),
    """\
    import torch

    def style(vgg, image, target, loss_fn):
        image = image.clone().requires_grad_(True)
        optimizer = torch.optim.LBFGS([image])
        wanted = vgg(target).detach()
        for _ in range(100):
            def closure():
                optimizer.zero_grad()
                loss = loss_fn(vgg(image), wanted)
                loss.backward()
                return loss.item()
            optimizer.step(closure)
        return image.detach()
    """,
]


@pytest.mark.parametrize("text", UNCUT)
def test_a_loss_with_a_graph_is_none(text: str) -> None:
    assert rules_in(text) == []


UNDER = [
    step("with torch.no_grad():\n    out = model(x)\n    loss = criterion(out, y)\n"),
    step("with torch.inference_mode():\n    out = model(x)\nloss = criterion(out, y)\n"),
    step(
        "with torch.no_grad():\n    loss = criterion(model(x), y)\n    loss.backward()\n",
        "        optimizer.step()\n",
    ),
    step("with torch.set_grad_enabled(False):\n    loss = F.cross_entropy(model(x), y)\n"),
    """\
    import torch
    from torch import nn, no_grad

    @no_grad()
    def train_one_epoch(model, loader, criterion, optimizer):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()

    def main(loader):
        model = nn.Linear(8, 4)
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(3):
            train_one_epoch(model, loader, nn.CrossEntropyLoss(), optimizer)
    """,
    """\
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 4)

        @torch.no_grad()
        def forward(self, x):
            return self.fc(x)

    def fit(loader):
        net, mse = Net(), nn.MSELoss()
        optimizer = torch.optim.Adam(net.parameters())
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = mse(net(x), y)
            loss.backward()
            optimizer.step()
    """,
]


@pytest.mark.parametrize("text", UNDER)
def test_a_forward_pass_without_gradients_is_found(text: str) -> None:
    assert rules_in(text) == ["forward-under-no-grad"]


NOT_UNDER = [
    """\
    import torch
    from torch import nn

    def train(backbone, loader):
        head = nn.Linear(512, 10)
        criterion = nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(head.parameters(), lr=0.1)
        backbone.eval()
        for x, y in loader:
            optimizer.zero_grad()
            with torch.no_grad():
                features = backbone(x)
            loss = criterion(head(features), y)
            loss.backward()
            optimizer.step()
    """,
    """\
    import torch
    import torch.nn.functional as F

    def dqn(policy, target, optimizer, batch):
        s, a, r, s2 = batch
        with torch.no_grad():
            wanted = r + 0.99 * target(s2).amax(1)
        q = policy(s).gather(1, a).squeeze(1)
        loss = F.smooth_l1_loss(q, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    """,
    """\
    import torch
    from torch import nn

    def run(model, loaders, optimizer):
        criterion = nn.CrossEntropyLoss()
        for phase in ("train", "val"):
            model.train(phase == "train")
            for x, y in loaders[phase]:
                optimizer.zero_grad()
                with torch.set_grad_enabled(phase == "train"):
                    loss = criterion(model(x), y)
                    if phase == "train":
                        loss.backward()
                        optimizer.step()
    """,
    step("loss = criterion(model(x), y)\nwith torch.no_grad():\n    acc = model(x).argmax(1)\n"),
    """\
    import torch

    class Ascent(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure):
            with torch.enable_grad():
                loss = closure()
                loss.backward()
            return loss
    """,
    step(
        "with torch.no_grad():\n"
        "    with torch.enable_grad():\n"
        "        loss = criterion(model(x), y)\n"
    ),
]


@pytest.mark.parametrize("text", NOT_UNDER)
def test_what_only_measures_may_be_under_no_grad(text: str) -> None:
    assert rules_in(text) == []
