"""Types of numbers, and numpy."""

from __future__ import annotations

import pytest

from tests.lint.asked import rules_in
from tests.lint.rules.tensors_programs import HEAD, loop, module

LINEAR = HEAD + "model = nn.Linear(3, 1)\nmodel.eval()\n"
LOADED = "from torch.utils.data import DataLoader, TensorDataset\n"


def evaluated(body: str, before: str = "") -> str:
    """Give a program that measures with this body, without gradients."""
    lines = [HEAD, "def accuracy(model, loader, device):", "    model.eval()"]
    lines += ["    with torch.no_grad():", "        for x, y in loader:"]
    lines += [f"            {line}" for line in body.split("\n")]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        LINEAR + "with torch.no_grad():\n    out = model(torch.from_numpy(np.zeros((2, 3))))\n",
        LINEAR + "with torch.no_grad():\n    out = model(torch.tensor(np.random.rand(2, 3)))\n",
        LINEAR + "with torch.no_grad():\n    out = model(torch.tensor([1, 2, 3]))\n",
        LINEAR + "x = torch.as_tensor(np.random.randn(2, 3) * 2)\n"
        "with torch.no_grad():\n    out = model(x)\n",
        HEAD
        + "x = torch.arange(3)\nnet = nn.Sequential(nn.Flatten(), nn.Linear(3, 1))\nnet.eval()\n"
        "with torch.no_grad():\n    out = net(x)\n",
        module("return self.fc(x)")
        + "from sklearn.datasets import make_moons\npoints, _ = make_moons(9)\n"
        "model = Net()\nmodel.eval()\nwith torch.no_grad():\n"
        "    out = model(torch.from_numpy(points))\n",
        HEAD
        + LOADED
        + "data = TensorDataset(torch.from_numpy(np.random.rand(9, 3)))\nmodel = nn.Linear(3, 1)\n"
        "model.eval()\nwith torch.no_grad():\n    for (x,) in DataLoader(data, 4):\n"
        "        print(model(x))\n",
    ],
)
def test_numbers_of_another_type_are_found(text: str) -> None:
    assert rules_in(text) == ["dtype-mixed"]


@pytest.mark.parametrize(
    "text",
    [
        LINEAR
        + "with torch.no_grad():\n    out = model(torch.from_numpy(np.zeros((2, 3))).float())\n",
        LINEAR + "with torch.no_grad():\n"
        "    out = model(torch.tensor(np.zeros((2, 3)), dtype=torch.float32))\n",
        LINEAR + "with torch.no_grad():\n    out = model(torch.tensor([1.0, 2.0, 3.0]))\n",
        LINEAR + "x = np.zeros((2, 3)).astype(np.float32)\nwith torch.no_grad():\n"
        "    out = model(torch.tensor(x))\n",
        HEAD + "model = nn.Linear(3, 1).double()\nmodel.eval()\nwith torch.no_grad():\n"
        "    out = model(torch.from_numpy(np.zeros((2, 3))))\n",
        HEAD + "table = nn.Embedding(9, 3)\nprint(table(torch.tensor([1, 2, 3])))\n",
        HEAD + "torch.set_default_dtype(torch.float64)\nmodel = nn.Linear(3, 1)\nmodel.eval()\n"
        "with torch.no_grad():\n    out = model(torch.from_numpy(np.zeros((2, 3))))\n",
        LINEAR + "def ask(points):\n    with torch.no_grad():\n"
        "        return model(torch.from_numpy(points))\n",
        LINEAR + "with torch.no_grad():\n    out = model(torch.FloatTensor(np.zeros((2, 3))))\n",
    ],
)
def test_numbers_of_the_same_type_are_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "print(torch.tensor([1, 2, 3]).mean())\n",
        HEAD + "ages = torch.tensor([31, 42])\nprint(ages.std())\n",
        HEAD + "print(torch.mean(torch.arange(5)))\n",
        evaluated("pred = model(x).argmax(dim=1)\nprint((pred == y).mean())"),
        evaluated(
            "_, pred = torch.max(model(x), 1)\nright = (pred == y)\nprint(torch.mean(right))"
        ),
        HEAD + "print(torch.softmax(torch.randint(0, 9, (3,)), 0))\n",
    ],
)
def test_means_of_whole_numbers_are_found(text: str) -> None:
    assert rules_in(text) == ["integer-tensor-mean"]


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "print(torch.tensor([1.0, 2.0]).mean())\n",
        HEAD + "print(np.array([1, 2, 3]).mean(), np.arange(3).std())\n",
        HEAD + "print(torch.tensor([1, 2, 3]).mean(dtype=torch.float32))\n",
        evaluated("pred = model(x).argmax(dim=1)\nprint((pred == y).float().mean())"),
        evaluated("pred = model(x).argmax(dim=1).cpu().numpy()\nprint((pred == y.numpy()).mean())"),
        HEAD + "def accuracy(pred, y):\n    return (pred == y).mean()\n",
        HEAD + "print(torch.tensor([1, 2, 3]).double().mean(), torch.arange(3).sum())\n",
    ],
)
def test_other_means_are_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "scale = torch.Tensor(5)\nprint(scale)\n",
        HEAD + "scale = torch.Tensor(0.5)\nprint(scale)\n",
        HEAD + "shares = torch.LongTensor([0.5, 1.5])\nprint(shares)\n",
        HEAD + "shares = torch.IntTensor(np.random.rand(3))\nprint(shares)\n",
        HEAD + "from torch import Tensor\nx = Tensor(3)\nprint(x)\n",
        module("return x * self.w", "self.w = nn.Parameter(torch.FloatTensor(n, 3))"),
    ],
)
def test_old_constructors_are_found(text: str) -> None:
    assert rules_in(text) == ["legacy-tensor-constructor"]


@pytest.mark.parametrize(
    "text",
    [
        HEAD + "x = torch.tensor(5)\ny = torch.tensor([0.5])\n",
        HEAD + "x = torch.Tensor([1.0, 2.0])\n",
        HEAD + "x = torch.Tensor(5).fill_(0)\n",
        HEAD + "x = torch.Tensor(4)\nx.uniform_(-1, 1)\n",
        HEAD + "x = torch.Tensor(4)\nfor i in range(4):\n    x[i] = i\n",
        module(
            "return x * self.w",
            "self.w = nn.Parameter(torch.Tensor(n, 3))\nnn.init.xavier_uniform_(self.w)",
        ),
        module("return x * self.w", "self.w = nn.Parameter(torch.Tensor(n, 3))")
        + "model = Net(2)\nfor p in model.parameters():\n    p.data.uniform_(-0.1, 0.1)\n",
        HEAD + "y = torch.LongTensor([0, 1])\nz = torch.FloatTensor(np.zeros(3))\n",
        HEAD + "def f(x: torch.Tensor) -> torch.Tensor:\n    return x\n",
    ],
)
def test_constructors_with_values_are_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize(
    "body",
    [
        "loss = criterion(model(x), y)\nprint(loss.numpy())",
        "out = model(x)\nloss = criterion(out, y)\nprint(out.view(-1).numpy())",
        "out = model(x)\nloss = criterion(out, y)\nprint(np.mean(loss))",
        "out = model(x)\nloss = criterion(out, y)\nprint(np.array(out))",
        "out = model(x)\nloss = criterion(out, y)\n"
        "print(torch.softmax(out, 1).shape, out.sum().numpy())",
        "loss = criterion(model(x), y)\nprint(np.exp(loss))",
    ],
)
def test_numpy_on_the_graph_is_found(body: str) -> None:
    assert rules_in(loop(body)) == ["numpy-on-graph"]


@pytest.mark.parametrize(
    "body",
    [
        "loss = criterion(model(x), y)\nprint(loss.item())",
        "loss = criterion(model(x), y)\nprint(np.exp(loss.item()), loss.detach().numpy())",
        "out = model(x)\nloss = criterion(out, y)\nprint(out.detach().numpy().mean())",
        "out = model(x)\nloss = criterion(out, y)\nprint(out.argmax(1).numpy())",
        "loss = criterion(model(x), y)\nprint(y.numpy(), np.mean(y.numpy()))",
        "loss = criterion(model(x), y)\nwith torch.no_grad():\n    out = model(x)\n"
        "    print(out.numpy())",
        "loss = criterion(model(x), y)\nprint(loss.numpy(force=True))",
    ],
)
def test_numpy_off_the_graph_is_silent(body: str) -> None:
    assert rules_in(loop(body)) == []


def test_the_mean_of_a_list_of_losses_is_found() -> None:
    text = loop("loss = criterion(model(x), y)\nlosses.append(loss)", "losses = []")
    found = rules_in(text + "    print(np.max(losses))\n")
    assert "numpy-on-graph" in found
    right = text.replace("append(loss)", "append(loss.item())") + "    print(np.max(losses))\n"
    assert rules_in(right) == []
