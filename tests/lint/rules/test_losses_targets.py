"""What goes into a loss as its target: element types, one-hot rows, shapes."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in
from tests.lint.rules.losses_programs import lightning, script, trainer, training

LIN = "self.out(x)"
CE, BCEL = "nn.CrossEntropyLoss()", "nn.BCEWithLogitsLoss()"
DATA = "import numpy as np\nfrom torch.utils.data import DataLoader, Dataset, TensorDataset\n"
OWN = (
    DATA
    + """
class Samples(Dataset):
    def __init__(self, x, y):
        self.x, self.y = torch.tensor(x, dtype=torch.float32), y
    def __len__(self):
        return len(self.y)
    def __getitem__(self, index):
        return {item}
"""
)


def loaded(made: str, last: str, loss: str, call: str, setup: str = DATA) -> str:
    """Give a script whose loader holds what `made` says."""
    return (
        f"import torch\nfrom torch import nn\nimport torch.nn.functional as F\n{setup}\n"
        "inputs = torch.randn(64, 3)\n"
        f"{made}\nloader = DataLoader(data, batch_size=16, shuffle=True)\n"
        f"model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), {last})\nloss_fn = {loss}\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\nmodel.train()\n"
        "for epoch in range(3):\n    for i, (x, y) in enumerate(loader):\n"
        f"        optimizer.zero_grad()\n        loss = {call}\n        loss.backward()\n"
        "        optimizer.step()\n"
    )


def own(item: str, last: str, loss: str, call: str) -> str:
    """Give the same with a data set of the program's own."""
    return loaded("data = Samples(np.zeros((64, 3)), [0] * 64)", last, loss, call,
                  OWN.format(item=item))  # fmt: skip


def tensors(target: str, last: str, loss: str, call: str = "loss_fn(model(x), y)") -> str:
    """Give the same with a `TensorDataset`."""
    table = "from tables import table\n" if "table" in target else ""
    return loaded(
        f"{table}targets = {target}\ndata = TensorDataset(inputs, targets)", last, loss, call
    )


def full(target: str, last: str, loss: str, output: str = "model(inputs)") -> str:
    """Give a script without batches."""
    return (
        "import torch\nfrom torch import nn\nimport numpy as np\ninputs = torch.randn(64, 3)\n"
        f"targets = {target}\nmodel = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), {last})\n"
        f"loss_fn = {loss}\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "model.train()\nfor step in range(100):\n    optimizer.zero_grad()\n"
        f"    loss = loss_fn({output}, targets)\n    loss.backward()\n    optimizer.step()\n"
    )


TEN, ONE = "nn.Linear(8, 10)", "nn.Linear(8, 1)"
MNIST = DATA + "from torchvision.datasets import MNIST\nfrom torchvision import transforms\n"
IMAGES = "data = MNIST('data', train=True, transform=transforms.ToTensor())"

FAULTS = {
    "float-labels-for-cross-entropy": [
        full("torch.tensor([0, 1, 2, 1] * 16, dtype=torch.float32)", TEN, CE),
        tensors("torch.randint(0, 10, (64,)).float()", TEN, CE),
        tensors("torch.FloatTensor([0, 1] * 32)", TEN, CE),
        tensors("torch.tensor(table['y'].values, dtype=torch.float32)", TEN, CE),
        tensors("torch.from_numpy(table['y'].to_numpy()).float()", TEN, CE),
        tensors("torch.from_numpy(np.array([0, 1] * 32).astype(np.float32))", TEN, CE),
        tensors("torch.randint(0, 10, (64,))", TEN, CE, "loss_fn(model(x), y.float())"),
        tensors("torch.randint(0, 10, (64,))", TEN, CE, "loss_fn(model(x), y.to(torch.float))"),
        loaded(IMAGES, TEN, CE, "loss_fn(model(x.flatten(1)), y.float())", MNIST),
        own("self.x[index], torch.tensor(int(self.y[index]), dtype=torch.float32)", TEN, CE,
            "loss_fn(model(x), y)"),
        own("self.x[index], float(self.y[index])", TEN, CE, "loss_fn(model(x), y)"),
        trainer(LIN, CE, "self.criterion(out, target.float())").replace(
            "            loss =", "            out = self.model(batch)\n"
            "            right = (out.argmax(1) == target).sum()\n            loss =", 1),
        script(LIN, CE, "criterion(outputs, labels.float())\n"
               "        right = outputs.max(1)[1].eq(labels).sum()").replace(
                   "outputs.max(1)[1]", "outputs.argmax(1)"),
    ],
    "integer-labels-for-bce": [
        script(LIN, BCEL, "criterion(outputs.squeeze(1), labels.long())", 1),
        tensors("torch.randint(0, 2, (64,))", ONE, BCEL, "loss_fn(model(x).squeeze(1), y)"),
        tensors("torch.randint(0, 2, (64, 1))", ONE + ", nn.Sigmoid()", "nn.BCELoss()"),
        full("torch.tensor([[0], [1]] * 32)", ONE, BCEL),
        own("self.x[index], torch.tensor(self.y[index], dtype=torch.long)", ONE, BCEL,
            "loss_fn(model(x).squeeze(1), y)"),
        lightning("self.net(x)", "F.binary_cross_entropy_with_logits(self(x), y.int())", size=1),
        trainer(LIN, BCEL, "self.criterion(self.model(batch), target.to(torch.int64))", 1),
        tensors("torch.rand(64, 1) > 0.5", ONE, BCEL),
    ],
    "labels-not-long": [
        script(LIN, CE, "criterion(outputs, labels.int())"),
        tensors("torch.tensor([0, 1] * 32, dtype=torch.int32)", TEN, CE),
        tensors("torch.from_numpy(np.zeros(64, dtype=np.int32))", TEN, CE),
        full("torch.IntTensor([0, 1] * 32)", TEN, CE),
        own("self.x[index], torch.tensor(self.y[index], dtype=torch.int)", TEN, CE,
            "loss_fn(model(x), y)"),
        lightning("self.net(x)", "F.cross_entropy(self(x), y.to(torch.int16))"),
        trainer(LIN, CE, "self.criterion(self.model(batch), target.type(torch.IntTensor))"),
        training("loss = F.cross_entropy(model(x), y > 0)"),
    ],
    "one-hot-for-index-loss": [
        training("loss = F.cross_entropy(model(x), F.one_hot(y, num_classes=10))"),
        training("loss = F.cross_entropy(model(x), target)", inner="target = F.one_hot(y, 4)"),
        script("F.log_softmax(self.out(x), dim=1)", "nn.NLLLoss()",
               "criterion(outputs, F.one_hot(labels, 10).float())"),
        tensors("F.one_hot(torch.randint(0, 10, (64,)), 10)", TEN, CE),
        own("self.x[index], F.one_hot(torch.tensor(self.y[index]), 10)", TEN, CE,
            "loss_fn(model(x), y)"),
        lightning("self.net(x)", "F.cross_entropy(self(x), F.one_hot(y, 10).to(self.device))"),
        script("F.log_softmax(self.out(x), dim=1)", "nn.NLLLoss()",
               "criterion(outputs, torch.eye(10)[labels])"),
    ],
    "squeezed-broadcast": [
        tensors("torch.randn(64)", ONE, "nn.MSELoss()"),
        tensors("torch.rand(64)", ONE, "nn.L1Loss()", "loss_fn(model(x), y.float())"),
        tensors("torch.randn(64, 1)", ONE, "nn.MSELoss()", "loss_fn(model(x).squeeze(-1), y)"),
        full("torch.tensor([1.0, 2.0] * 32)", ONE, "nn.HuberLoss()"),
        full("torch.tensor(np.random.randn(64), dtype=torch.float32)", ONE, "nn.SmoothL1Loss()"),
        full("torch.randn(64).reshape(-1, 1)", ONE, "nn.MSELoss()", "model(inputs)[:, 0]"),
        own("self.x[index], torch.tensor(float(self.y[index]))", ONE, "nn.MSELoss()",
            "loss_fn(model(x), y)"),
        script(LIN, "nn.MSELoss()", "criterion(outputs, labels.view(-1))", 1),
    ],
}  # fmt: skip

CLEAN = [
    script(LIN, CE, "criterion(outputs, labels)"),
    script(LIN, CE, "criterion(outputs, labels.long())"),
    script(LIN, CE, "criterion(outputs, labels.to(torch.uint8))"),
    # probabilities as the target
    script(LIN, CE, "criterion(outputs, F.one_hot(labels, 10).float())"),
    script(LIN, CE, "criterion(outputs, torch.eye(10)[labels])"),
    script(LIN, CE, "criterion(outputs, F.softmax(labels.float(), dim=1))"),
    tensors("torch.rand(64, 10)", TEN, CE),
    full("torch.tensor([0.25, 0.75])", "nn.Linear(8, 2)", CE, "model(inputs[0])"),
    tensors("torch.softmax(torch.randn(64, 10), dim=1)", TEN, CE),
    training(
        "loss = F.cross_entropy(model(x), mixed)",
        inner="hot = F.one_hot(y, 10).float()\nmixed = 0.3 * hot + 0.7 * hot.flip(0)",
    ),
    training("loss = F.cross_entropy(model(x), y.float())", setup="# y: soft labels"),
    tensors("F.one_hot(torch.randint(0, 10, (64,)), 10).float()", TEN, CE),
    tensors("torch.randint(0, 2, (64, 10))", TEN, BCEL, "loss_fn(model(x), y.float())"),
    # class indices, well made
    loaded(IMAGES, TEN, CE, "loss_fn(model(x.flatten(1)), y)", MNIST),
    tensors("torch.from_numpy(np.zeros(64, dtype=np.int32)).long()", TEN, CE),
    own("self.x[index], self.y[index]", TEN, CE, "loss_fn(model(x), y)"),
    own("self.x[index], torch.tensor(self.y[index]).long()", TEN, CE, "loss_fn(model(x), y)"),
    # binary targets, well made
    tensors("torch.randint(0, 2, (64, 1)).float()", ONE, BCEL),
    tensors("torch.randint(0, 2, (64,))", ONE, BCEL, "loss_fn(model(x).squeeze(1), y.float())"),
    script(LIN, BCEL, "criterion(outputs, torch.ones_like(outputs))", 1),
    # regression: the shapes agree, or are not known
    tensors("torch.randn(64, 1)", ONE, "nn.MSELoss()"),
    tensors("torch.randn(64)", ONE, "nn.MSELoss()", "loss_fn(model(x).squeeze(-1), y)"),
    tensors("torch.randn(64)", ONE, "nn.MSELoss()", "loss_fn(model(x), y.unsqueeze(1))"),
    tensors("torch.randn(64)", ONE, "nn.MSELoss()", "loss_fn(model(x), y[:, None])"),
    tensors("torch.randn(64)", ONE, "nn.MSELoss()", "loss_fn(model(x), y.view(-1, 1))"),
    tensors("torch.randn(64)", ONE + ", nn.Flatten(0)", "nn.MSELoss()"),
    tensors("torch.tensor(table[['y']].values, dtype=torch.float32)", ONE, "nn.MSELoss()"),
    tensors("torch.tensor(table[['a', 'b']].values, dtype=torch.float32)", TEN, CE),
    tensors("torch.randn(64, 3)", "nn.Linear(8, 3)", "nn.MSELoss()"),
    full("inputs.sum(dim=1, keepdim=True)", ONE, "nn.MSELoss()"),
    full("torch.randint(0, 9, (64, 1))", ONE, "nn.MSELoss()"),
    script(LIN, "nn.MSELoss()", "criterion(outputs, labels)", 1),
    script(LIN, "nn.MSELoss()", "criterion(outputs.view(-1), labels.view(-1))", 1),
    script(LIN, "nn.MSELoss()", "criterion(outputs, labels.view_as(outputs))", 1),
    script(LIN, "nn.MSELoss()", "criterion(outputs, labels.reshape(outputs.shape))", 1),
    script(LIN, "nn.MSELoss()", "criterion(outputs, labels.view(outputs.size()))", 1),
    own("self.x[index], torch.tensor([float(self.y[index])])", ONE, "nn.MSELoss()",
        "loss_fn(model(x), y)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "text"), [(rule, text) for rule, texts in FAULTS.items() for text in texts]
)
def test_faults_are_found(rule: str, text: str) -> None:
    findings = found_in(text)
    assert [one.rule for one in findings] == [rule], text
    assert findings[0].severity != "hint"


@pytest.mark.parametrize("text", CLEAN)
def test_look_alikes_are_silent(text: str) -> None:
    assert rules_in(text) == [], text


def test_labels_of_unknown_kind_that_are_made_float_are_a_hint() -> None:
    (found,) = found_in(script(LIN, CE, "criterion(outputs, labels.float())"))
    assert (found.rule, found.severity) == ("float-labels-for-cross-entropy", "hint")
    assert found.edits == ()


def test_long_is_proposed_only_for_whole_numbers() -> None:
    (found,) = found_in(script(LIN, CE, "criterion(outputs, labels.int())"))
    assert [edit.text for edit in found.edits] == ["labels.long()"]
    (found,) = found_in(
        tensors("torch.randint(0, 9, (64,))", TEN, CE, "loss_fn(model(x), y.float())")
    )
    assert [edit.text for edit in found.edits] == ["y.long()"]
    soft = tensors("torch.rand(64, 10)", TEN, CE, "loss_fn(model(x), y.float())")
    assert found_in(soft) == []


def test_the_data_set_may_be_in_another_file() -> None:
    head = "import torch\nimport numpy as np\nfrom torch.utils.data import Dataset\n"
    other = head + OWN.partition("TensorDataset\n")[2].format(
        item="self.x[index], torch.tensor(self.y[index], dtype=torch.int32)"
    )
    text = loaded("data = Samples(np.zeros((64, 3)), [0] * 64)", TEN, CE, "loss_fn(model(x), y)",
                  DATA + "from samples import Samples\n")  # fmt: skip
    assert rules_in(text, samples=other) == ["labels-not-long"]
    assert rules_in(text, samples=other.replace("int32", "int64")) == []
