"""What happens in `forward`: layers made there, functions for layers, outputs that are lost."""

from __future__ import annotations

import pytest

from ..asked import found_in, rules_in

HEAD = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
NET = (
    HEAD + "class Net(nn.Module):\n    def __init__(self, n=3):\n        super().__init__()\n"
    "        self.fc = nn.Linear(n, 4)\n        self.out = nn.Linear(4, n)\n        self.n = n\n"
)


def forward(*texts: str, head: str = "def forward(self, x):", net: str = NET) -> str:
    """Give a network with a `forward` of some lines."""
    return f"{net}    {head}\n" + "".join(f"        {text}\n" for text in texts)


def step(*texts: str, before: str = "") -> str:
    """Give a training whose step begins with some lines, and ends with `out`."""
    return (
        HEAD + f"from torch.utils.data import DataLoader\n{before}"
        "def train(data, model, optimizer, criterion):\n"
        "    loader = DataLoader(data, batch_size=16, shuffle=True)\n    model.train()\n"
        "    for x, y in loader:\n        optimizer.zero_grad()\n"
        + "".join(f"        {text}\n" for text in texts)
        + "        loss = criterion(out, y)\n        loss.backward()\n        optimizer.step()\n"
    )


DIRECT = [
    HEAD + "net = nn.Linear(2, 2)\nprint(net.forward(torch.zeros(2)))\n",
    forward("return self.out(self.fc.forward(x))"),
    forward("return x") + "def show(x):\n    model = Net().eval()\n    return model.forward(x)\n",
    HEAD + "class Trainer:\n    def __init__(self):\n        self.model = nn.Linear(2, 2)\n"
    "    def predict(self, x):\n        return self.model.forward(x)\n",
    step("out = model.forward(x)", before="") + "def main(data):\n    model = nn.Linear(2, 2)\n"
    "    train(data, model, torch.optim.SGD(model.parameters(), 0.1), nn.MSELoss())\n",
    HEAD + "loss = nn.MSELoss()\nprint(loss.forward(torch.zeros(2), torch.ones(2)))\n",
]
NOT_DIRECT = [
    HEAD + "class Wide(nn.Linear):\n    def forward(self, x):\n        return super().forward(x)\n",
    forward("return x", head="def __call__(self, x):")
    + "net = Net()\nnet.forward(torch.ones(2))\n",
    HEAD + "def show(model, x):\n    return model.forward(x)\n",
    HEAD
    + "class Player:\n    def forward(self, n):\n        self.n = n\np = Player()\np.forward(3)\n",
    forward("return x") + "net = Net()\nold = net.forward\nnet.forward = print\nnet.forward(1)\n",
    forward("return x") + "    def predict(self, x):\n        return self.forward(x)\n",
    HEAD + "class Mul(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n"
    "        return x\nprint(Mul.forward(None, 3))\n",
]

MADE = [
    forward("fc = nn.Linear(self.n, 4).to(x.device)", "x = fc(x)", "return x"),
    forward("self.late = nn.Linear(4, 4)", "return self.late(self.fc(x))"),
    forward("return nn.Sequential(nn.Linear(3, 4), nn.ReLU())(x)"),
    forward("return self.out(nn.Dropout(0.5)(self.fc(x)))"),
    forward("return self.head(self.fc(x))")
    + "    def head(self, x):\n        return nn.Conv1d(4, 4, 3)(x)\n",
    step("x = nn.BatchNorm1d(8)(x)", "out = model(x)"),
]
NOT_MADE = [
    forward("return nn.ReLU()(nn.Softmax(dim=1)(self.fc(x)))"),
    forward(
        "if self.late is None:", "    self.late = nn.Linear(4, 4)", "return self.late(self.fc(x))"
    ),
    forward(
        "if not hasattr(self, 'late'):", "    self.late = nn.LazyLinear(4)", "return self.late(x)"
    ),
    forward(
        "if hasattr(self, 'late'):",
        "    return self.late(x)",
        "self.late = nn.Linear(3, 4)",
        "return self.late(x)",
    ),
    forward("fc = nn.Linear(3, 4)", "fc.weight = nn.Parameter(self.weights(x))", "return fc(x)"),
    forward("return nn.InstanceNorm2d(3)(x)"),
    forward("return nn.Dropout(0.5).train(self.training)(self.fc(x))"),
    forward("return x", head="def make(self):") + "    def forward(self, x):\n        return x\n",
    step("fast = nn.Linear(2, 2)", "fast.load_state_dict(model.state_dict())", "out = fast(x)"),
]

AS_FUNCTION = [
    forward("return nn.Softmax(x)", head="def forward(self, x):"),
    forward("x = self.fc(x)", "x = nn.Flatten(x)", "return x"),
    forward("x = torch.nn.Dropout(F.relu(self.fc(x)))", "return x"),
    step("out = nn.Sigmoid(model(x))", before="") + "def main(data):\n    model = nn.Linear(2, 2)\n"
    "    train(data, model, torch.optim.SGD(model.parameters(), 0.1), nn.MSELoss())\n",
    step("x = nn.Flatten(x)", "out = model(x)"),
    HEAD + "pool = nn.MaxPool2d(torch.randn(2, 3, 8, 8))\nprint(pool)\n",
]
NOT_AS_FUNCTION = [
    forward("return nn.Softmax(self.n)(self.fc(x))"),
    forward("return nn.Softmax(dim)(self.fc(x))", head="def forward(self, x, dim):"),
    forward("return nn.functional.relu(self.fc(x))"),
    forward("return torch.relu(self.fc(x))"),
    HEAD + "def head(p, size):\n    return nn.Dropout(p), nn.MaxPool2d(size), nn.Flatten(1)\n",
    HEAD + "weights = torch.tensor([1.0, 2.0])\nloss = nn.CrossEntropyLoss(weights)\n",
    forward("return nn.Dropout(p)", head="def forward(self, p: float):"),
]

NO_RETURN = [
    forward("return_value = self.out(self.fc(x))"),
    forward("self.out(self.fc(x))"),
    forward("x = self.fc(x)", "x"),
    forward("x = self.fc(x)", "if self.n > 3:", "    x = self.out(x)"),
    forward("x = self.fc(x)", "return", "x = F.relu(x)"),
    forward("x = x.view(x.size(0), -1)", "x = self.fc(x)", "logits = F.log_softmax(x, dim=1)"),
]
RETURN = [
    forward("raise NotImplementedError"),
    forward("pass"),
    forward('"""Is overridden."""', "..."),
    forward("self.last = self.fc(x)"),
    forward("for one in x:", "    yield self.fc(one)"),
    forward("outputs.append(self.fc(x))", head="def forward(self, x, outputs):"),
    HEAD + "class Plain:\n    def forward(self, x):\n        x = F.relu(x)\n",
    forward("x.mul_(2)", "y = self.fc(x)"),
]

DROPOUT = [
    forward("return self.out(F.dropout(self.fc(x), 0.2))"),
    forward("x = nn.functional.dropout2d(self.fc(x), p=0.2)", "return self.out(x)"),
    forward("return self.out(torch.nn.functional.dropout(self.fc(x)))"),
    forward("return F.alpha_dropout(self.fc(x), 0.1)"),
    forward("return F.scaled_dot_product_attention(x, x, x, dropout_p=0.1)"),
    forward("return self.head(x)")
    + "    def head(self, x):\n        return F.dropout(self.fc(x), 0.5)\n",
    HEAD + "class Attention(nn.Module):\n    def __init__(self, dropout=0.1):\n"
    "        super().__init__()\n        self.dropout = dropout\n    def forward(self, q, k, v):\n"
    "        return F.scaled_dot_product_attention(q, k, v, None, self.dropout)\n",
]
TOLD_DROPOUT = [
    forward("return F.dropout(self.fc(x), 0.2, self.training)"),
    forward("return F.dropout(self.fc(x), 0.2, training=True)"),
    forward("if self.training:", "    x = F.dropout(x, 0.2)", "return self.fc(x)"),
    forward("if not self.training:", "    return self.fc(x)", "return F.dropout(self.fc(x), 0.2)"),
    forward("p = 0.1 if self.training else 0.0", "y = F.scaled_dot_product_attention(x, x, x,")
    + "            dropout_p=p)\n        return y\n",
    forward(
        "return F.scaled_dot_product_attention(x, x, x, dropout_p=0.1 if self.training else 0)"
    ),
    forward("return F.dropout(self.fc(x), 0.2)").replace("Net", "MCDropoutNet"),
    step("out = model(F.dropout(x, 0.3))"),
]

RULES = {
    "forward-called-directly": (DIRECT, NOT_DIRECT),
    "module-made-in-forward": (MADE, NOT_MADE),
    "layer-called-as-function": (AS_FUNCTION, NOT_AS_FUNCTION),
    "forward-without-return": (NO_RETURN, RETURN),
    "functional-dropout-without-training": (DROPOUT, TOLD_DROPOUT),
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
        (row, start), (_, end) = edit.start, edit.end
        rows[row - 1] = rows[row - 1][:start] + edit.text + rows[row - 1][end:]
    if finding.edits:
        assert rules_in("\n".join(rows)) == []


def test_norms_made_in_forward_are_hints() -> None:
    texts = forward("return nn.LayerNorm(x.shape[1:])(x)")
    assert [one.severity for one in found_in(texts)] == ["hint"]
