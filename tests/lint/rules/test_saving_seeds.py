"""Seeds: missing, set again and again, missing in a split; and settings of cuDNN."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

COMPARE = """\
import itertools
import torch
from torch import nn

SETTINGS = {{"small": 16, "large": 256}}

def train(model, loader, lr):
    loss_fn = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
    return loss.item()

def main(loader, results):
    for {loop}:
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        {body}
"""


def compare(loop: str, body: str = "results.append(train(model, loader, 0.1))") -> str:
    return COMPARE.format(loop=loop, body=body)


NO_SEED = [
    compare("lr in (0.1, 0.01)", "results[lr] = train(model, loader, lr)"),
    compare("width in SETTINGS.values()"),
    compare("name, width in SETTINGS.items()", "print(name, train(model, loader, 0.1))"),
    compare("lr, decay in itertools.product([0.1, 0.01], [0, 1e-4])"),
    compare("i, lr in enumerate([0.1, 0.01, 0.001])"),
    compare("act in [nn.ReLU, nn.Tanh]"),
]
SEEDED = [
    compare("lr in (0.1, 0.01)", "torch.manual_seed(0); results.append(train(model, loader, lr))"),
    compare("seed in [1, 2, 3]"),
    compare("fold in [1, 2, 3]"),
    compare("lr in (0.1, 0.01)", "train(model, loader, lr)"),
    compare("lr in (0.1,)"),
    compare("lr in (0.1, 0.01)").replace("model = nn.Seq", "# model = nn.Seq").replace(
        "def main(loader,", "def main(model, loader,"
    ),
    compare("lr in (0.1, 0.01)") + "\nif __name__ == '__main__':\n    torch.manual_seed(3)\n",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_SEED)
def test_a_comparison_without_a_seed_is_found(text: str) -> None:
    assert rules_in(text) == ["seed-missing"]


@pytest.mark.parametrize("text", SEEDED)
def test_other_loops_and_seeded_ones_are_none(text: str) -> None:
    assert rules_in(text) == []


def test_a_seed_in_another_file_counts() -> None:
    other = "import torch\n\ndef set_seed(n):\n    torch.manual_seed(n)\n\nset_seed(0)\n"
    assert rules_in(f"import setup\n{NO_SEED[0]}", setup=other) == []
    assert rules_in(NO_SEED[0], setup=other) == ["seed-missing"], "it does not import it"


EPOCHS = """\
import torch
from torch import nn

SEED = 42

def train_epoch(model, loader, optimizer, loss_fn):
    model.train()
    for i, (x, y) in enumerate(loader):
        {batch}
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()

def main(model, loader, epochs, seed=0):
    {before}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        {epoch}
        train_epoch(model, loader, optimizer, nn.CrossEntropyLoss())
"""


def epochs(before: str = "pass", epoch: str = "pass", batch: str = "pass") -> str:
    return EPOCHS.format(before=before, epoch=epoch, batch=batch)


AGAIN = [
    epochs(epoch="torch.manual_seed(0)"),
    epochs(epoch="torch.manual_seed(seed)"),
    epochs(batch="torch.manual_seed(SEED)"),
    epochs(batch="torch.cuda.manual_seed_all(1)"),
    """\
    import torch
    from lightning import seed_everything

    def fit(model, loader, optimizer, loss_fn):
        step = 0
        model.train()
        while step < 1000:
            seed_everything(7)
            for x, y in loader:
                optimizer.zero_grad()
                loss_fn(model(x), y).backward()
                optimizer.step()
                step += 1
    """,
]
ONCE = [
    epochs(before="torch.manual_seed(seed)"),
    epochs(epoch="torch.manual_seed(seed + epoch)"),
    epochs(epoch="torch.manual_seed(epoch)"),
    epochs(epoch="with torch.random.fork_rng(): torch.manual_seed(0)"),
    epochs(batch="if i == 0: torch.manual_seed(0)"),
    epochs(epoch="torch.manual_seed(seed)").replace("epoch in range", "fold in range"),
    epochs(epoch="torch.manual_seed(0)").replace("in range(epochs)", "in (True, False)"),
    """\
    import torch
    from torch import nn

    def main(loader, loss_fn, results):
        for lr in (0.1, 0.01):
            torch.manual_seed(0)
            model = nn.Linear(8, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
            for x, y in loader:
                optimizer.zero_grad()
                loss_fn(model(x), y).backward()
                optimizer.step()
            results.append(model)
    """,
    """\
    import torch

    def sample(model, n):
        model.eval()
        with torch.no_grad():
            for i in range(n):
                torch.manual_seed(0)
                print(model(torch.randn(1, 8)))
    """,
]


@pytest.mark.parametrize("text", AGAIN)
def test_a_seed_in_the_loop_is_found(text: str) -> None:
    assert rules_in(text) == ["seed-set-inside-loop"]


@pytest.mark.parametrize("text", ONCE)
def test_a_seed_set_once_is_none(text: str) -> None:
    assert rules_in(text) == []


RESUME = """\
import os
import torch
from torch.utils import data
from torch.utils.data import DataLoader, random_split

def main(model, optimizer, loss_fn, ds, path, args):
    {split}
    if {condition}:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    model.train()
    train_loader = DataLoader(train_set, batch_size=8, shuffle=True)
    for x, y in train_loader:
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
    torch.save(model.state_dict(), path)
"""
SPLIT = "train_set, val_set = random_split(ds, [800, 200])"


def resume(split: str = SPLIT, condition: str = "args.resume") -> str:
    return RESUME.format(split=split, condition=condition)


MIXED = [
    resume(),
    resume(condition="os.path.exists(path)"),
    resume(condition="path.is_file()"),
    resume("train_set, val_set = data.random_split(ds, lengths=[0.8, 0.2])"),
    resume("train_set, val_set = torch.utils.data.random_split(ds, (0.8, 0.2))", "args.checkpoint"),
]
OTHER_SPLITS = [
    "import torch\nfrom torch.utils.data import random_split\n"
    "a, b = random_split(range(9), [6, 3])\n",
    resume(condition="args.pretrained"),
]
KEPT = [
    resume(SPLIT.replace("200])", "200], generator=torch.Generator().manual_seed(0))")),
    resume(SPLIT.replace("200])", "200], torch.Generator().manual_seed(0))")),
    resume("torch.manual_seed(0); " + SPLIT),
    resume("set_seed(args.seed); " + SPLIT),
    resume("train_set = torch.utils.data.Subset(ds, range(800))"),
]


@pytest.mark.parametrize("text", MIXED + OTHER_SPLITS)
def test_a_split_that_differs_each_time_is_found(text: str) -> None:
    found = [(one.rule, one.severity) for one in found_in(text)]
    assert found == [("split-without-generator", "warning" if text in MIXED else "hint")]


@pytest.mark.parametrize("text", KEPT)
def test_a_split_that_stays_is_none(text: str) -> None:
    assert rules_in(text) == []


CUDNN = "import torch\nimport torch.backends.cudnn as cudnn\n"
BOTH = [
    CUDNN + "cudnn.benchmark = True\ncudnn.deterministic = True\n",
    CUDNN + "torch.use_deterministic_algorithms(True)\ntorch.backends.cudnn.benchmark = True\n",
    CUDNN + "torch.backends.cudnn.deterministic = cudnn.benchmark = True\n",
    "import torch\nfrom torch.backends import cudnn\n\ndef seed(n):\n    torch.manual_seed(n)\n"
    "    cudnn.deterministic = True\n    cudnn.benchmark = True\n",
    "import lightning as L\ntrainer = L.Trainer(deterministic=True, benchmark=True)\n",
]
ONE = [
    CUDNN + "cudnn.benchmark = False\ncudnn.deterministic = True\n",
    CUDNN + "cudnn.benchmark = True\n",
    CUDNN + "cudnn.benchmark = True\ncudnn.deterministic = False\n",
    CUDNN + "def f(fast):\n    if fast:\n        cudnn.benchmark = True\n    else:\n"
    "        cudnn.deterministic = True\n",
    CUDNN
    + "def fast():\n    cudnn.benchmark = True\n\ndef slow():\n    cudnn.deterministic = True\n",
]


@pytest.mark.parametrize("text", BOTH)
def test_settings_that_contradict_each_other_are_found(text: str) -> None:
    assert rules_in(text) == ["cudnn-benchmark-with-deterministic"]


@pytest.mark.parametrize("text", ONE)
def test_one_setting_alone_is_none(text: str) -> None:
    assert rules_in(text) == []
