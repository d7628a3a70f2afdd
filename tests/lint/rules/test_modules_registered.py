"""What a module does not register: tuples, lists, tensors, layers of the class."""

from __future__ import annotations

import pytest

from ..asked import found_in, rules_in

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
NET = HEAD + "class Net(nn.Module):\n    def __init__(self, n=3):\n        super().__init__()\n"
TRAIN = (
    "def train(model, loader, criterion, optimizer):\n    model.train()\n    for x, y in loader:\n"
    "        optimizer.zero_grad()\n"
)
STEP = "        loss.backward()\n        optimizer.step()\n"


def lines(*texts: str) -> str:
    """Give lines of the body of a method."""
    return "".join(f"        {text}\n" for text in texts)


COMMA = [
    NET + lines("self.fc: nn.Module = nn.Linear(n, 4),"),
    NET + lines("self.fc = nn.Linear(", "    n,", "    4,", "),  # the head"),
    HEAD + "model = nn.Sequential(nn.Linear(2, 2), nn.ReLU()),\nprint(model)\n",
    HEAD + TRAIN + "        loss = criterion(model(x), y),\n" + STEP,
    NET
    + lines("self.fc = nn.Linear(n, 4)", "self.out = nn.Linear(4, 2)")
    + "    def forward(self, x):\n        x = self.fc(x),\n        return self.out(x)\n",
    HEAD + "net = nn.Linear(2, 2)\noptimizer = torch.optim.SGD(net.parameters(), lr=0.1),\n",
]
NO_COMMA = [
    NET + lines("self.sizes = n,", "self.fc = nn.Linear(n, 4)"),
    HEAD + "blocks = nn.Linear(2, 2),\nnet = nn.Sequential(*blocks)\n",
    HEAD + "heads = (nn.Linear(2, 2),)\nprint(heads)\n",
    HEAD + "def outputs(model, x):\n    out = model(x),\n    return out\n",
    HEAD + "def run(f, x):\n    out = f(x),\n    return out + (x,)\n",
    HEAD + "a, = [nn.Linear(2, 2)]\nb = torch.zeros(2), torch.ones(2),\n",
]

INIT = "class Net(nn.Module):\n    def __init__(self):\n"
FORWARD = "    def forward(self, x):\n        return self.fc(x)\n"
NO_SUPER = [
    HEAD + INIT + lines("self.fc = nn.Linear(2, 2)", "super().__init__()") + FORWARD,
    HEAD + INIT + lines("super(nn.Module, self).__init__()", "self.fc = nn.Linear(2, 2)") + FORWARD,
    HEAD + INIT + lines("super().__init__", "self.fc = nn.Linear(2, 2)") + FORWARD,
    "import pytorch_lightning as pl\nfrom torch import nn\n"
    "class Net(pl.LightningModule):\n    def __init__(self):\n"
    + lines('"""Make it."""', "self.fc = nn.Linear(2, 2)")
    + FORWARD,
    "from torch.nn import Linear, Module\nclass Base(Module):\n    pass\n"
    "class Net(Base):\n    def __init__(self, n):\n" + lines("self.fc = Linear(n, 2)") + FORWARD,
    HEAD + INIT + lines("self.n = 2") + "    def forward(self, x):\n        return x * self.n\n",
]
SUPER = [
    HEAD + INIT + lines("nn.Module.__init__(self)", "self.fc = nn.Linear(2, 2)") + FORWARD,
    HEAD + INIT + lines("super(Net, self).__init__()", "self.fc = nn.Linear(2, 2)") + FORWARD,
    HEAD + INIT + lines("self.n = 2", "super().__init__()", "self.fc = nn.Linear(2, 2)") + FORWARD,
    HEAD
    + INIT
    + lines("self._setup()", "self.fc = nn.Linear(2, 2)")
    + "    def _setup(self):\n        super().__init__()\n"
    + FORWARD,
    HEAD + INIT + lines("raise NotImplementedError") + FORWARD,
    HEAD
    + "class Trainer:\n    def __init__(self):\n"
    + lines("self.fc = nn.Linear(2, 2)")
    + FORWARD,
]

PLAIN_LIST = [
    NET + lines("self.fcs = (nn.Linear(n, 4), nn.Linear(4, 2))"),
    NET + lines("self.fcs = []", "for _ in range(n):", "    self.fcs.append(nn.Linear(4, 4))"),
    NET
    + lines("fcs = []", "for i in range(n):", "    fcs += [nn.Conv2d(i, 4, 3)]", "self.f = fcs"),
    NET + lines("self.heads = {'a': nn.Linear(n, 4), 'b': nn.Linear(n, 4)}"),
    NET + lines("self.heads = {}", "self.heads['a'] = nn.Linear(n, 4)"),
    NET + lines("self.w = [nn.Parameter(torch.zeros(4)) for _ in range(n)]"),
    NET + lines("self.drops = list(nn.Dropout(0.1) for _ in range(n))"),
    HEAD
    + "class Block(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    + lines("self.fc = nn.Linear(2, 2)")
    + NET.removeprefix(HEAD)
    + lines("self.blocks = [Block() for _ in range(n)]"),
]
NO_PLAIN_LIST = [
    NET
    + lines("layers = [nn.Linear(4, 4) for _ in range(n)]", "self.net = nn.Sequential(*layers)"),
    NET
    + lines("self.fcs = [nn.Linear(4, 4) for _ in range(n)]", "self.m = nn.ModuleList(self.fcs)"),
    NET
    + lines("self.a = nn.Linear(4, 4)", "self.b = nn.Linear(4, 4)", "self.l = [self.a, self.b]"),
    NET + lines("self.acts = [nn.ReLU(), nn.Tanh()]", "self.fc = nn.Linear(4, 4)"),
    NET
    + lines("self.fcs = []", "for i in range(n):", "    fc = nn.Linear(4, 4)")
    + lines("    self.add_module(f'fc{i}', fc)", "    self.fcs.append(fc)"),
    NET + lines("self.teacher = [nn.Linear(4, 4).eval()]", "self.fc = nn.Linear(4, 4)"),
    NET + lines("fc = nn.Linear(4, 4)", "self.fc = fc", "self.order = [fc]"),
    HEAD
    + "class Ensemble:\n    def __init__(self):\n"
    + lines("self.models = [nn.Linear(2, 2) for _ in range(5)]"),
]

USE = "    def forward(self, x):\n        return self.fc(x) * self.w\n"
FC = "self.fc = nn.Linear(n, 4)"
TENSOR = [
    NET + lines(FC, "self.w = torch.randn(4).requires_grad_()") + USE,
    NET + lines(FC, "self.w = torch.zeros(4)", "self.w.requires_grad = True") + USE,
    NET + lines(FC, "self.w = nn.Parameter(torch.randn(4)) * 0.01") + USE,
    NET + lines(FC, "self.w = nn.Parameter(torch.randn(4)).double()") + USE,
    NET + lines(FC, "place = n.device", "self.w = nn.Parameter(torch.randn(4)).to(place)") + USE,
    NET + lines(FC, "self.w = torch.ones(4).to(torch.float64).requires_grad_(True)") + USE,
    NET
    + lines("self.w = torch.tensor([1.0], requires_grad=True)")
    + "    def forward(self, x):\n        return torch.cat([self.w, x])\n",
]
NO_TENSOR = [
    NET + lines(FC, "w = torch.randn(4, requires_grad=True)", "self.w = nn.Parameter(w)") + USE,
    NET + lines(FC, 'self.register_buffer("w", torch.ones(4))') + USE,
    NET
    + lines(FC, "self.w = torch.ones(4)")
    + "    def forward(self, x):\n        return self.fc(x) * self.w.to(x.device)\n",
    NET
    + lines(FC, "self.w = torch.randn(4, requires_grad=True)")
    + USE
    + "net = Net()\noptimizer = torch.optim.Adam([net.w, *net.parameters()])\n",
    HEAD
    + "class Regression:\n    def __init__(self):\n"
    + lines("self.w = torch.randn(4, requires_grad=True)"),
    NET + lines(FC, "self.w = None") + USE,
    NET + lines(FC, 'self.w = nn.Parameter(torch.randn(4)).to("cpu")') + USE,
    NET + lines(FC, "self.w = nn.Parameter(torch.randn(4).to(n.device))") + USE,
]

ON_CLASS = [
    HEAD + "class Net(nn.Module):\n    fc = nn.Linear(2, 2)\n" + FORWARD,
    HEAD + "class Net(nn.Module):\n    fc: nn.Linear = nn.Linear(2, 2)\n" + FORWARD,
    HEAD + "class Net(nn.Module):\n    w = nn.Parameter(torch.zeros(2))\n",
    HEAD + "class Net(nn.Module):\n    fc = nn.Sequential(nn.Linear(2, 2), nn.ReLU())\n" + FORWARD,
    "from torch.nn import LSTM\nimport lightning as L\n"
    "class Net(L.LightningModule):\n    fc = LSTM(2, 2)\n" + FORWARD,
]
NOT_ON_CLASS = [
    HEAD + "class Net(nn.Module):\n    act = nn.ReLU()\n    loss = nn.CrossEntropyLoss()\n",
    HEAD + "class Net(nn.Module):\n    fc: nn.Linear\n" + FORWARD,
    HEAD + "class Net(nn.Module):\n    layer = nn.Linear\n    width = 3\n",
    HEAD + "class Config:\n    fc = nn.Linear(2, 2)\n",
    NET.replace("    def", "    fc = nn.Linear(2, 2)\n    def")
    + lines("self.fc = nn.Linear(n, 2)"),
]

MISSPELT = [
    HEAD
    + "class Net(nn.Module):\n    def __int__(self):\n"
    + lines("super().__init__()")
    + FORWARD,
    HEAD
    + "class Net(nn.Module):\n    def _init_(self, n):\n"
    + lines("super().__init__()", "self.n = n")
    + FORWARD,
    NET + lines(FC) + FORWARD.replace("forward", "forword"),
    NET + lines(FC) + FORWARD.replace("forward", "froward"),
    NET
    + lines(FC)
    + FORWARD.replace("    def", "        def").replace("    return", "      return"),
    NET + lines(FC) + FORWARD.replace("forward", "Forward"),
]
NOT_MISSPELT = [
    NET + lines("self.n = n") + "    def __int__(self):\n        return self.n\n",
    NET + lines(FC) + FORWARD + FORWARD.replace("forward", "foreward"),
    NET + lines(FC) + FORWARD.replace("forward", "features"),
    HEAD + "class Dog:\n" + FORWARD.replace("forward", "foward"),
    NET + lines(FC) + FORWARD.replace("forward", "forwards") + "Net().forwards(torch.zeros(3))\n",
    "from other import Base\n"
    + HEAD
    + "class Net(Base, nn.Module):\n"
    + FORWARD.replace("forward", "foward"),
]

RULES = {
    "trailing-comma": (COMMA, NO_COMMA),
    "missing-super-init": (NO_SUPER, SUPER),
    "layers-in-plain-list": (PLAIN_LIST, NO_PLAIN_LIST),
    "tensor-instead-of-parameter": (TENSOR, NO_TENSOR),
    "layer-as-class-attribute": (ON_CLASS, NOT_ON_CLASS),
    "misspelt-method": (MISSPELT, NOT_MISSPELT),
}
FAULTY = [(name, text) for name, (texts, _) in RULES.items() for text in texts]
CLEAN = [(name, text) for name, (_, texts) in RULES.items() for text in texts]


@pytest.mark.parametrize(("name", "text"), FAULTY)
def test_it_is_found(name: str, text: str) -> None:
    assert rules_in(text) == [name]


@pytest.mark.parametrize(("name", "text"), CLEAN)
def test_what_looks_like_it_is_silent(name: str, text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize(("name", "text"), FAULTY)
def test_its_edits_mend_it(name: str, text: str) -> None:
    (finding,) = found_in(text)
    rows = text.split("\n")
    for edit in finding.edits:
        (row, start), (end_row, end) = edit.start, edit.end
        after = rows[row - 1][:start] + edit.text + rows[end_row - 1][end:]
        rows[row - 1 : end_row] = [after]
    if finding.edits:
        assert rules_in("\n".join(rows)) == []


def test_a_tuple_with_the_name_of_several_is_a_hint() -> None:
    text = HEAD + "heads = nn.Linear(2, 2),\nprint(heads)\n"
    assert [one.severity for one in found_in(text)] == ["hint"]
    (finding,) = found_in(text.replace("print(heads)", "print(heads(torch.zeros(2)))"))
    assert finding.severity == "error"


def test_a_class_of_another_file_is_known() -> None:
    text = HEAD + "from blocks import Block\n" + NET.removeprefix(HEAD)
    text += lines("self.blocks = [Block(4) for _ in range(n)]")
    block = HEAD + "class Block(nn.Module):\n    def __init__(self, n):\n"
    block += lines("super().__init__()", "self.fc = nn.Linear(n, n)")
    assert rules_in(text, blocks=block) == ["layers-in-plain-list"]
    assert rules_in(text, blocks=block.replace("nn.Linear(n, n)", "n")) == []


def test_plain_tensors_that_forward_computes_with_are_a_hint() -> None:
    (finding,) = found_in(NET + lines(FC, "self.w = torch.ones(4)") + USE)
    assert (finding.rule, finding.severity) == ("tensor-instead-of-parameter", "hint")
