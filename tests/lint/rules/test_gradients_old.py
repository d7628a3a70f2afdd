"""Habits of old versions: `.data`, `Variable`, `volatile`; and states that keep their graphs."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

TRAIN = """\
import torch
from torch import nn
from torch.autograd import Variable

def train(model, loader, clip=0.1):
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    total = 0.0
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        {after}
    return total
"""
RAISES = [
    TRAIN.format(after="print(loss.data[0])"),
    TRAIN.format(after="total += loss.data[0]"),
    TRAIN.format(after="print('loss: %.3f' % loss.data[0])"),
    TRAIN.format(after="error = criterion(x, y); print(error.data[0])"),
    TRAIN.format(after="print(f'{loss.data[0]:.3f}')"),
]
BEHIND = [
    TRAIN.format(after="total += loss.data"),
    TRAIN.format(after="print(model(x).data)"),
    TRAIN.format(after="out = model(x); out.data.clamp_(0, 1); print(out)"),
    """\
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Cosine(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return x @ F.normalize(self.fc.weight.data, dim=1).t()
    """,
]


@pytest.mark.parametrize("text", RAISES)
def test_an_index_into_a_loss_is_an_error(text: str) -> None:
    assert [(one.rule, one.severity) for one in found_in(text)] == [("data-attribute", "error")]


@pytest.mark.parametrize("text", BEHIND)
def test_data_of_tensors_is_a_hint(text: str) -> None:
    found = [one for one in found_in(text) if one.rule == "data-attribute"]
    assert [one.severity for one in found] == ["hint"]


NO_TENSORS = [
    TRAIN.format(after="for p in model.parameters(): p.data.clamp_(-clip, clip)"),
    TRAIN.format(after="for _, p in model.named_parameters(): p.data.mul_(0.9)"),
    TRAIN.format(after="for p in model.parameters(): p.grad.data.div_(2)"),
    TRAIN.format(after="model.fc.weight.data.fill_(0.1)"),
    TRAIN.format(after="torch.nn.init.zeros_(model.fc.bias.data)"),
    TRAIN.format(after="print(loader.data)"),
    TRAIN.format(after="total += loss.item()"),
    TRAIN.format(after="batch = loader.dataset; print(batch.data[0])"),
    """\
    import torch
    from torch.utils.data import Dataset

    class Rows(Dataset):
        def __init__(self, rows):
            self.data = torch.tensor(rows)

        def __len__(self):
            return len(self.data)

        def __getitem__(self, i):
            return self.data[i]
    """,
    """\
    import torch

    def load(args, response):
        return torch.tensor(response.data), args.data[0]
    """,
]


@pytest.mark.parametrize("text", NO_TENSORS)
def test_data_of_other_things_is_none(text: str) -> None:
    assert rules_in(text) == []


WRAPPED = [
    TRAIN.format(after="seen = Variable(x); print(seen)"),
    "import torch\nx = torch.autograd.Variable(torch.ones(3))\n",
    "from torch import autograd\nx = autograd.Variable(1.0, requires_grad=True)\n",
    "import torch.autograd as ag\nx = ag.Variable([1.0])\n",
    "from torch.autograd import Variable as V\n\ndef wrap(batch):\n    return V(batch.cuda())\n",
]
UNWRAPPED = [
    "import torch\nfrom torch.autograd import Variable\n",
    "import torch\nimport tensorflow as tf\nx = tf.Variable([1.0])\n",
    "import torch\n\nclass Variable:\n    pass\n\nx = Variable()\n",
    "import torch\nfrom mine import Variable\nx = Variable(torch.ones(1))\n",
    "import torch\nfrom torch.autograd import Function\n\ndef f(x: torch.Tensor):\n    return x\n",
]


@pytest.mark.parametrize("text", WRAPPED)
def test_a_variable_is_a_hint(text: str) -> None:
    found = [one for one in found_in(text) if one.rule != "cuda-hard-coded"]
    assert ("variable-wrapper", "hint") in {(one.rule, one.severity) for one in found}
    assert all(one.severity == "hint" for one in found)


@pytest.mark.parametrize("text", UNWRAPPED)
def test_other_variables_are_none(text: str) -> None:
    assert rules_in(text) == []


VOLATILE = [
    "from torch.autograd import Variable\n\ndef f(x):\n    return Variable(x, volatile=True)\n",
    "import torch\n\ndef f(x):\n    return torch.autograd.Variable(x.float(), volatile=True)\n",
    "import torch.autograd as A\n\ndef f(x):\n    x = A.Variable(x, volatile=True)\n    return x\n",
    "import torch\n\ndef f(x):\n    x.volatile = True\n    return x\n",
    "import torch\n\ndef f(batch):\n    batch.image.volatile = True\n    return batch\n",
]
NOT_VOLATILE = [
    "from torch.autograd import Variable\n\ndef f(x):\n    return Variable(x, volatile=False)\n",
    "import torch\n\ndef f(x):\n    x.volatile = False\n    return x\n",
    "import torch\n\ndef f(memory, x):\n    return memory.put(x, volatile=True)\n",
    "import torch\n\ndef f(x):\n    return x.volatile\n",
    "import torch\n\ndef f(x, volatile=True):\n    return x if volatile else None\n",
]


@pytest.mark.parametrize("text", VOLATILE)
def test_volatile_is_found(text: str) -> None:
    assert rules_in(text) == ["volatile-argument"]


@pytest.mark.parametrize("text", NOT_VOLATILE)
def test_other_uses_of_the_word_are_none(text: str) -> None:
    assert rules_in(text) == []


NET = """\
import torch
from torch import nn

class CharRNN(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.lstm = nn.LSTM(size, 64, batch_first=True)
        self.out = nn.Linear(64, size)

    def forward(self, x, hidden):
        y, hidden = self.lstm(x, hidden)
        return self.out(y).flatten(0, 1), hidden

    def init_hidden(self, n):
        return torch.zeros(1, n, 64), torch.zeros(1, n, 64)

def train(batches, size, epochs):
    model = CharRNN(size)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    {before}
    for epoch in range(epochs):
        {first}
        for x, y in batches:
            optimizer.zero_grad()
            {forward}
            loss = loss_fn(out, y.flatten())
            loss.backward({how})
            optimizer.step()
            {last}
"""


def net(forward: str, before: str = "", first: str = "", how: str = "", last: str = "") -> str:
    return NET.format(forward=forward, before=before, first=first, how=how, last=last)


CARRIED = [
    net("out, h = model(x, h)", first="h = model.init_hidden(32)"),
    net("out, h = model(x, h)", before="h = None"),
    net(
        "out, hidden = model(x, hidden)",
        first="hidden = model.init_hidden(32)",
        last="print(epoch)",
    ),
    """\
    import torch
    from torch import nn

    def train(loader, loss_fn):
        cell = nn.GRU(8, 8)
        optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
        h = torch.zeros(1, 4, 8)
        for x, y in loader:
            optimizer.zero_grad()
            out, h = cell(x, h)
            loss_fn(out, y).backward()
            optimizer.step()
    """,
    """\
    import torch
    from torch import nn

    def train(loader, loss_fn):
        rnn = nn.LSTM(8, 8)
        optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
        h, c = torch.zeros(1, 4, 8), torch.zeros(1, 4, 8)
        state = (h, c)
        for x, y in loader:
            optimizer.zero_grad()
            for part, wanted in zip(x.chunk(2), y.chunk(2)):
                out, state = rnn(part, state)
                loss = loss_fn(out, wanted)
                loss.backward()
            optimizer.step()
    """,
]
NOT_CARRIED = [
    net("out, h = model(x, h)", before="h = None", last="h = tuple(s.detach() for s in h)"),
    net("h = [s.detach() for s in h]; out, h = model(x, h)", before="h = model.init_hidden(32)"),
    net("h = repackage_hidden(h); out, h = model(x, h)", before="h = model.init_hidden(32)"),
    net("h = model.init_hidden(len(x)); out, h = model(x, h)"),
    net("out, _ = model(x, None)"),
    """\
    import torch
    from torch import nn

    def train(sequences, loss_fn):
        cell = nn.GRU(8, 8)
        optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
        for sequence, y in sequences:
            h, loss = torch.zeros(1, 4, 8), 0
            for x in sequence:
                out, h = cell(x, h)
                loss = loss + loss_fn(out, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    """,
]  # fmt: skip


@pytest.mark.parametrize("text", CARRIED)
def test_a_state_with_its_graph_is_found(text: str) -> None:
    assert [one.rule for one in found_in(text) if one.severity != "hint"] == [
        "hidden-state-not-detached"
    ]


def test_a_state_is_a_hint_where_the_graph_is_kept() -> None:
    text = net("out, h = model(x, h)", before="h = None", how="retain_graph=True")
    found = [one for one in found_in(text) if one.rule == "hidden-state-not-detached"]
    assert [one.severity for one in found] == ["hint"]


@pytest.mark.parametrize("text", NOT_CARRIED)
def test_a_state_without_its_graph_is_none(text: str) -> None:
    assert "hidden-state-not-detached" not in rules_in(text)
