"""Arguments that must be named, and results that are thrown away."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in
from tests.lint.rules.tensors_programs import HEAD, loop, module

USED = "from torch.utils.data import DataLoader, random_split\n"


@pytest.mark.parametrize(
    "line",
    [
        "loss = nn.KLDivLoss('batchmean')",
        "loss = nn.CrossEntropyLoss(0.1)",
        "loss = F.cross_entropy(a, b, 'sum')",
        "loss = F.mse_loss(a, b, 'none')",
        "rnn = nn.LSTM(8, 16, True)",
        "rnn = nn.GRU(8, 16, 2, True)",
        "rnn = nn.LSTM(8, 16, 2, 0.5)",
        "optimizer = torch.optim.Adam(a.parameters(), 1e-3, 1e-4)",
        "optimizer = torch.optim.SGD(a.parameters(), 0.1, 0.9, 5e-4)",
        "schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(a, 'min', 5)",
        "train_loader = DataLoader(a, 32, 4)",
        "conv = nn.Conv2d(3, 16, 3, False)",
        "conv = nn.Conv2d(3, 16, 3, 'same')",
        "norm = nn.BatchNorm2d(16, 0.9)",
        "attention = nn.MultiheadAttention(64, 4, True)",
        "x = torch.tensor(a, torch.float32)",
        "x = torch.zeros(2, 3, torch.long)",
        "x = torch.randn(2, 3, device)",
        "x = torch.randn(2, 3, True)",
        "x = torch.ones_like(a, torch.bool)",
        "x = nn.LeakyReLU(True)(a)",
        "x = F.normalize(a, -1)",
        "up = nn.Upsample(2)",
    ],
)
def test_arguments_at_another_place_are_found(line: str) -> None:
    text = HEAD + USED + f"def make(a, b, device):\n    {line}\n"
    assert rules_in(text) == ["keyword-only-argument"]


@pytest.mark.parametrize(
    "line",
    [
        "loss = nn.KLDivLoss(reduction='batchmean')",
        "loss = nn.CrossEntropyLoss(a)",
        "loss = F.cross_entropy(a, b, a)",
        "loss = nn.HuberLoss('sum')",
        "rnn = nn.LSTM(8, 16, 2, True, True)",
        "rnn = nn.LSTM(8, 16, 2, batch_first=True)",
        "optimizer = torch.optim.Adam(a.parameters(), 1e-3, (0.9, 0.99))",
        "optimizer = torch.optim.SGD(a.parameters(), 0.1, 0.9)",
        "optimizer = torch.optim.SGD(a.parameters(), 0.1, 0.9, 0, 5e-4)",
        "schedule = torch.optim.lr_scheduler.StepLR(a, 30, 0.1)",
        "train_loader = DataLoader(a, 32, True)",
        "conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)",
        "layer = nn.Linear(8, 8, False)",
        "norm = nn.BatchNorm2d(16, 1e-3, 0.01)",
        "best = torch.max(a, 1, True)",
        "x = torch.zeros(2, 3, dtype=torch.long, device=device)",
        "x = torch.full((2, 3), True)",
        "x = nn.ReLU(True)(a)",
        "x = F.normalize(a, 2, -1)",
        "up = nn.Upsample((64, 64))",
        "x = torch.std(a, 0, False)",
    ],
)
def test_arguments_at_their_place_are_silent(line: str) -> None:
    text = HEAD + USED + f"def make(a, b, device):\n    {line}\n"
    assert rules_in(text) == []


def test_the_share_to_drop_is_no_switch() -> None:
    text = module("x = F.dropout(x, self.training)\nreturn self.fc(x)")
    assert "keyword-only-argument" in rules_in(text)
    named = module("x = F.dropout(x, 0.5, self.training)\nreturn self.fc(x)")
    assert rules_in(named) == []


def test_the_edit_names_the_argument() -> None:
    found = found_in(HEAD + "x = torch.tensor([1.0], torch.float64)\n")
    assert [edit.text for one in found for edit in one.edits] == ["dtype="]


@pytest.mark.parametrize(
    "text",
    [
        loop("x.float()\nloss = criterion(model(x), y)"),
        loop("y.to(device)\nloss = criterion(model(x), y)", move="x = x.to(device)"),
        module("x.view(x.size(0), -1)\nreturn self.fc(x)"),
        module("x = self.fc(x)\nx.clamp(0, 1)\nreturn x"),
        module("F.relu(x)\nreturn self.fc(x)"),
        module("x = self.fc(x)\ntorch.sigmoid(x)\nreturn x"),
        HEAD + "def load(a):\n    x = torch.from_numpy(a)\n    x.unsqueeze(0)\n    return x\n",
    ],
)
def test_results_that_are_thrown_away_are_found(text: str) -> None:
    assert rules_in(text) == ["tensor-method-result-unused"]


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "def place(model, device):\n    model.to(device)\n    model.float()\n",
        HEAD + "def place(batch, device):\n    batch.to(device)\n    return batch\n",
        module("F.relu(x, inplace=True)\nreturn self.fc(x)"),
        module("x.clamp_(0, 1)\nreturn self.fc(x)"),
        HEAD + "from torch_geometric.loader import DataLoader\ndef walk(loader, device):\n"
        "    for data, y in loader:\n        data.to(device)\n        print(data, y)\n",
        HEAD + "import pytest\ndef test_view():\n    x = torch.zeros(3)\n"
        "    with pytest.raises(RuntimeError):\n"
        "        x.view(2)\n",
        HEAD
        + "def show(window):\n    window.view(3)\n    window.type('a')\n    window.repeat(2)\n",
    ],
)
def test_results_that_are_used_are_silent(text: str) -> None:
    assert rules_in(text) == []
