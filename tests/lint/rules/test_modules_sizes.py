"""Layers in a row: sizes that differ, one object in two places, norms of one, bounded logits."""

from __future__ import annotations

import pytest

from ..asked import found_in, rules_in

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
HEAD += "from torch.utils.data import DataLoader\n"
INIT = "class Net(nn.Module):\n    def __init__(self, n=3):\n        super().__init__()\n"


def net(*made: str, forward: tuple[str, ...] = ("return x",)) -> str:
    """Give a network with layers and a `forward`."""
    body = "".join(f"        {text}\n" for text in made) + "    def forward(self, x):\n"
    return HEAD + INIT + body + "".join(f"        {text}\n" for text in forward)


def sequence(*layers: str) -> str:
    """Give a sequence of layers."""
    return HEAD + f"net = nn.Sequential({', '.join(layers)})\n"


def train(model: str, loss: str = "nn.CrossEntropyLoss()", batch: str = "batch_size=8, ") -> str:
    """Give a training of a model."""
    return (
        HEAD + "def train(data):\n"
        f"    loader = DataLoader(data, {batch}shuffle=True)\n    model = {model}\n"
        f"    criterion = {loss}\n    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    model.train()\n    for x, y in loader:\n        optimizer.zero_grad()\n"
        "        loss = criterion(model(x), y)\n        loss.backward()\n        optimizer.step()\n"
    )


FC = ("self.a = nn.Linear(n, 32)", "self.b = nn.Linear(16, 4)")
LSTM = (
    "self.rnn = nn.LSTM(8, 16, batch_first=True, bidirectional=True)",
    "self.b = nn.Linear(16, 4)",
)
MISFITS = [
    sequence("nn.Conv2d(3, 16, 3)", "nn.BatchNorm2d(16)", "nn.ReLU()", "nn.Conv2d(32, 8, 3)"),
    sequence("nn.Conv2d(3, 16, 3)", "nn.BatchNorm2d(32)", "nn.ReLU()"),
    sequence("nn.Sequential(nn.Linear(2, 8), nn.Tanh())", "nn.Sequential(nn.Linear(4, 2))"),
    sequence("nn.Flatten()", "nn.Linear(784, 128)", "nn.BatchNorm1d(64)", "nn.ReLU()"),
    sequence("nn.Conv2d(3, 64, 3)", "nn.AdaptiveAvgPool2d(1)", "nn.Flatten()", "nn.Linear(32, 2)"),
    sequence("nn.Conv2d(3, 64, 3)", "nn.AdaptiveAvgPool2d((1, 1))", "nn.Linear(64, 2)"),
    sequence("nn.Embedding(100, 32)", "nn.Linear(64, 2)"),
    HEAD + "hidden = 32\nnet = nn.Sequential(nn.Linear(4, hidden * 2), nn.Linear(hidden, 2))\n",
    net(*FC, forward=("x = F.relu(self.a(x))", "return self.b(x)")),
    net(*FC, forward=("return self.b(torch.tanh(self.a(x)))",)),
    net(*LSTM, forward=("out, _ = self.rnn(x)", "return self.b(out[:, -1])")),
    net(FC[1], forward=("x = x.view(-1, 8 * 4)", "return self.b(x)")),
]
FITS = [
    HEAD + "from mine import Attention\n\nclass Longer(Attention):\n"
    "    def __init__(self):\n        super().__init__()\n"
    "        self.query = nn.Sequential(self.query, nn.Linear(8, 8))\n",
    sequence("nn.Linear(2, 8)", "nn.ReLU()", "nn.Dropout(0.1)", "nn.Linear(8, 2)"),
    sequence("nn.Conv2d(3, 16, 3)", "nn.MaxPool2d(2)", "nn.Flatten()", "nn.Linear(3136, 10)"),
    sequence("nn.Linear(2, 8)", "nn.Unflatten(1, (2, 4))", "nn.Linear(4, 2)"),
    sequence("nn.Conv1d(3, 16, 3)", "nn.Linear(98, 10)"),
    sequence("nn.Linear(2, 8)", "nn.GLU()", "nn.Linear(4, 2)"),
    sequence("nn.Conv2d(3, 16, 3)", "nn.PixelShuffle(2)", "nn.Conv2d(4, 8, 3)"),
    net(*FC, forward=("x = torch.chunk(self.a(x), 2, dim=1)[0]", "return self.b(x)")),
    net(*FC, forward=("x = self.a(x)", "x = x.view(x.size(0), -1, 16)", "return self.b(x)")),
    net(*FC, forward=("x = torch.cat([self.a(x), x])", "return self.b(x)")),
    net(
        "self.rnn = nn.GRU(8, 8, bidirectional=True)",
        "self.b = nn.Linear(16, 4)",
        forward=("out, h = self.rnn(x)", "return self.b(out)"),
    ),
    HEAD + "def make(a, b):\n    return nn.Sequential(nn.Linear(4, a), nn.Linear(b, 2))\n",
    HEAD + "layers = [nn.Linear(4, 8)]\nnet = nn.Sequential(*layers, nn.Linear(4, 2))\n",
    HEAD + "net = nn.Linear(4, 4)\nfor _ in range(3):\n    net = nn.Sequential(net, nn.ReLU())\n",
]

ONE_OBJECT = [
    net("self.l = nn.Sequential(*[nn.Linear(4, 4)] * n)"),
    net("self.l = nn.ModuleList(n * [nn.TransformerEncoderLayer(64, 4)])"),
    net("layer = nn.Linear(4, 4)", "self.l = nn.ModuleList([layer for _ in range(n)])"),
    net(
        "self.l = nn.ModuleList()",
        "block = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU())",
        "for _ in range(n):",
        "    self.l.append(block)",
    ),
    HEAD + "def clones(layer, n):\n    return nn.ModuleList([layer for _ in range(n)])\n"
    "stack = clones(nn.Linear(4, 4), 3)\n",
    HEAD
    + "bn = nn.BatchNorm1d(4)\nnet = nn.Sequential(nn.Linear(4, 4), bn, nn.Linear(4, 4), bn)\n",
]
OWN_OBJECTS = [
    net("self.l = nn.ModuleList([nn.Linear(4, 4) for _ in range(n)])"),
    net("self.l = nn.Sequential(*[nn.ReLU()] * n)"),
    net("self.shared = nn.ModuleList([nn.Linear(4, 4)] * n)"),
    HEAD + "import copy\ndef clones(layer, n):\n"
    "    return nn.ModuleList([copy.deepcopy(layer) for _ in range(n)])\n"
    "clones(nn.Linear(4, 4), 3)\n",
    net("ls = [nn.Linear(4, 4) for _ in range(n)]", "self.l = nn.ModuleList([l for l in ls])"),
    HEAD + "act = nn.ReLU()\nnet = nn.Sequential(nn.Linear(4, 4), act, nn.Linear(4, 4), act)\n",
    HEAD + "sizes = [64] * 3\nprint(sizes)\n",
]

BN = "nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))"
TRAINER = (
    HEAD
    + INIT
    + "        self.c = nn.Conv2d(3, 8, 3)\n        self.bn = nn.BatchNorm2d(8)\n"
    + "    def forward(self, x):\n        return self.bn(self.c(x)).mean((2, 3))\n"
    + "class Trainer:\n    def __init__(self, data):\n        self.model = Net()\n"
    + "        self.loader = DataLoader(data, shuffle=True, batch_size=1)\n"
    + "        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)\n"
    + "    def fit(self):\n        self.model.train()\n        for x, y in self.loader:\n"
    + "            self.optimizer.zero_grad()\n"
    + "            loss = F.cross_entropy(self.model(x), y)\n"
    + "            loss.backward()\n            self.optimizer.step()\n"
)
LIGHTNING = (
    "import lightning as L\n"
    + HEAD
    + INIT.replace("nn.Module", "L.LightningModule")
    + f"        self.net = {BN}\n    def training_step(self, batch, i):\n        x, y = batch\n"
    + "        return F.cross_entropy(self.net(x), y)\n    def train_dataloader(self):\n"
    + "        return DataLoader(self.data, shuffle=True)\n"
)
OF_ONE = [
    train(BN, batch="batch_size=1, "),
    train(BN, batch=""),
    "BATCH = 1\n" + train(BN, batch="batch_size=BATCH, "),
    TRAINER,
    LIGHTNING,
]
OF_MANY = [
    train(BN),
    train(BN.replace("BatchNorm1d", "LayerNorm"), batch="batch_size=1, "),
    train(BN, batch="batch_size=None, "),
    train(BN, batch="batch_size=1, ").replace("model(x)", "model(x.squeeze(0))"),
    train(BN, batch="batch_sampler=sampler, ").replace(", shuffle=True", ""),
    TRAINER.replace("batch_size=1", "batch_size=n"),
    LIGHTNING.replace("shuffle=True", "shuffle=True, batch_size=4"),
]

RELU = "nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.{}())"
HEADED = (
    "        self.fc = nn.Linear(4, 2)\n    def forward(self, x):\n        return {}(self.fc(x))\n"
)
BOUNDED = [
    train(RELU.format("ReLU"), "nn.BCEWithLogitsLoss()"),
    train(RELU.format("Tanh")),
    train("Net()").replace("def train", INIT + HEADED.format("F.relu") + "def train"),
    train("Net()").replace("def train", INIT + HEADED.format("torch.relu") + "def train"),
    train("nn.Linear(4, 2)").replace(
        "criterion(model(x), y)", "F.cross_entropy(model(x).relu(), y)"
    ),
]
FREE = [
    train(RELU.format("ReLU"), "nn.MSELoss()"),
    train(RELU.format("Dropout")),
    train(RELU.format("LeakyReLU")),
    train("Net()").replace("def train", INIT + HEADED.format("3 * torch.tanh") + "def train"),
    train("nn.Sequential(nn.Conv2d(3, 9, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())"),
]

RULES = {
    "layers-do-not-fit": (MISFITS, FITS),
    "two-layers-one-object": (ONE_OBJECT, OWN_OBJECTS),
    "batch-norm-batch-of-one": (OF_ONE, OF_MANY),
    "activation-on-logits": (BOUNDED, FREE),
}
FAULTY = [(name, text) for name, (texts, _) in RULES.items() for text in texts]
CLEAN = [(name, text) for name, (_, texts) in RULES.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), FAULTY)
def test_it_is_found(name: str, text: str) -> None:
    assert rules_in(text) == [name]


@pytest.mark.parametrize(("name", "text"), CLEAN)
def test_what_looks_like_it_is_silent(name: str, text: str) -> None:
    assert rules_in(text) == []


def test_a_norm_of_another_size_than_its_layer_may_be_over_a_sequence() -> None:
    sure = sequence("nn.Linear(64, 128)", "nn.BatchNorm1d(64)")
    perhaps = sequence("nn.Linear(64, 128)", "nn.BatchNorm1d(50)")
    assert [one.severity for one in found_in(sure)] == ["error"]
    assert [one.severity for one in found_in(perhaps)] == ["hint"]


def test_a_linear_layer_twice_in_a_sequence_may_be_meant() -> None:
    text = HEAD + "fc = nn.Linear(4, 4)\nnet = nn.Sequential(fc, nn.ReLU(), fc)\n"
    assert [one.severity for one in found_in(text)] == ["hint"]
