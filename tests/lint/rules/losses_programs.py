"""Programs around a loss, for the tests of the rules about losses."""

from __future__ import annotations

import textwrap

HEAD = """\
import torch
from torch import nn
import torch.nn.functional as F
"""


def training(loss: str, *before: str, setup: str = "", inner: str = "") -> str:
    """Give a function that trains a model that nobody knows: `loss` is its line."""
    lines = [HEAD, textwrap.dedent(setup), "def train(model, loader, optimizer):"]
    lines += [f"    {line}" for line in before]
    lines += ["    model.train()", "    for x, y in loader:", "        optimizer.zero_grad()"]
    lines += [f"        {line}" for line in inner.splitlines()]
    lines += [f"        {loss}", "        loss.backward()", "        optimizer.step()"]
    return "\n".join(lines) + "\n"


def network(result: str, size: int = 10, *layers: str) -> str:
    """Give a module whose `forward` returns `result`; it has the layers `hidden` and `out`."""
    more = "".join(f"        {layer}\n" for layer in layers)
    return (
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.hidden = nn.Linear(20, 30)\n        self.out = nn.Linear(30, {size})\n{more}"
        "\n    def forward(self, x):\n        x = torch.relu(self.hidden(x))\n"
        f"        return {result}\n"
    )


def script(result: str, loss: str, call: str, size: int = 10, *layers: str) -> str:
    """Give a script with a module, a loss object and a loop over a loader."""
    return (
        f"{HEAD}from data import loader\n\n{network(result, size, *layers)}\n"
        f"model = Net()\ncriterion = {loss}\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "for epoch in range(3):\n    model.train()\n    for inputs, labels in loader:\n"
        "        optimizer.zero_grad()\n        outputs = model(inputs)\n"
        f"        loss = {call}\n        loss.backward()\n        optimizer.step()\n"
    )


def trainer(result: str, loss: str, call: str, size: int = 10) -> str:
    """Give the same as a class that holds model, loss and optimizer."""
    return (
        f"{HEAD}\n{network(result, size)}\n"
        "class Trainer:\n    def __init__(self, model, criterion, optimizer):\n"
        "        self.model, self.criterion, self.optimizer = model, criterion, optimizer\n\n"
        "    def fit(self, loader, device):\n        self.model.train()\n"
        "        for batch, target in loader:\n"
        "            batch, target = batch.to(device), target.to(device)\n"
        "            self.optimizer.zero_grad()\n"
        f"            loss = {call}\n            loss.backward()\n"
        "            self.optimizer.step()\n\n"
        "def main(loader, device):\n    model = Net().to(device)\n"
        "    optimizer = torch.optim.Adam(model.parameters())\n"
        f"    Trainer(model, {loss}, optimizer).fit(loader, device)\n"
    )


def functions(result: str, loss: str, call: str, size: int = 10) -> str:
    """Give the same as `train_one_epoch`, called with everything from `main`."""
    return (
        f"{HEAD}\n{network(result, size)}\n"
        "def train_one_epoch(model, loader, criterion, optimizer, device):\n    model.train()\n"
        "    for data, target in loader:\n"
        "        data, target = data.to(device), target.to(device)\n"
        "        optimizer.zero_grad(set_to_none=True)\n        output = model(data)\n"
        f"        loss = {call}\n        loss.backward()\n        optimizer.step()\n\n"
        "def main(loader, device):\n    model = Net().to(device)\n"
        "    optimizer = torch.optim.Adam(model.parameters())\n"
        f"    train_one_epoch(model, loader, {loss}, optimizer, device)\n"
    )


def lightning(result: str, call: str, *layers: str, size: int = 10) -> str:
    """Give the same as a Lightning module."""
    more = "".join(f"        {layer}\n" for layer in layers)
    return (
        "import torch\nimport torch.nn.functional as F\nfrom torch import nn\n"
        "import lightning.pytorch as pl\n\n"
        "class Lit(pl.LightningModule):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, {size}))\n"
        f"{more}"
        f"\n    def forward(self, x):\n        return {result}\n\n"
        "    def training_step(self, batch, batch_idx):\n        x, y = batch\n"
        f"        loss = {call}\n        return loss\n\n"
        "    def configure_optimizers(self):\n"
        "        return torch.optim.Adam(self.parameters(), lr=1e-3)\n"
    )
