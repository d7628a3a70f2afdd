"""How losses and softmax are called: order, options, dimensions, gradients."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in
from tests.lint.rules.losses_programs import (
    functions,
    lightning,
    network,
    script,
    trainer,
    training,
)

LIN = "self.out(x)"
CE, BCEL = "nn.CrossEntropyLoss()", "nn.BCEWithLogitsLoss()"
ZERO = "F.log_softmax(self.out(x), dim=0)"
IMAGE = "import torch\nimport torch.nn.functional as F\nimport torchvision\n"

FAULTS = {
    "swapped-loss-arguments": [
        script(LIN, BCEL, "criterion(labels, outputs)", 1),
        trainer(LIN, CE, "self.criterion(target, self.model(batch))"),
        functions(LIN, "nn.BCEWithLogitsLoss()", "criterion(target.float(), output)", 1),
        lightning("self.net(x)", "F.cross_entropy(y, self(x))"),
        training("loss = F.binary_cross_entropy_with_logits(y, model(x))"),
        training("loss = F.cross_entropy(input=y, target=model(x))"),
        training("loss = F.nll_loss(y, F.log_softmax(model(x), dim=1))"),
        training("loss = loss_fn(real, netD(x).view(-1))", "loss_fn = nn.BCEWithLogitsLoss()",
                 inner="real = torch.ones(len(x))\nnetD = model"),
        training('loss = F.cross_entropy(batch["label"], out)', inner="batch = dict(label=y)\n"
                 "out = model(x)"),
    ],
    "loss-made-with-arguments": [
        script(LIN, CE, "nn.CrossEntropyLoss(outputs, labels)"),
        training("loss = nn.MSELoss(model(x), y)"),
        training("loss = torch.nn.BCEWithLogitsLoss(logits, y)", inner="logits = model(x)"),
        trainer(LIN, CE, "nn.CrossEntropyLoss(self.model(batch), target)"),
        lightning("self.net(x)", "nn.CrossEntropyLoss(self(x), y)"),
        "import torch\nfrom torch.nn import L1Loss\n\ndef score(preds, targets):\n"
        "    return L1Loss(preds, targets)\n",
    ],
    "softmax-without-dim": [
        training("loss = F.nll_loss(F.log_softmax(model(x)), y)"),
        script("F.log_softmax(self.out(x))", "nn.NLLLoss()", "criterion(outputs, labels)"),
        script("self.last(self.out(x))", "nn.NLLLoss()", "criterion(outputs, labels)", 10,
               "self.last = nn.LogSoftmax()"),
        "from torch import nn\nmodel = nn.Sequential(nn.Linear(4, 2), nn.Softmax())\n",
        "import torch\nfrom torch.nn.functional import softmax\n\ndef shares(scores):\n"
        "    return softmax(scores)\n",
        "import torch\n\ndef shares(scores):\n"
        "    return torch.nn.functional.softmax(scores, None)\n",
    ],
    "softmax-over-batch": [
        script(ZERO, "nn.NLLLoss()", "criterion(outputs, labels)"),
        script("self.last(self.out(x))", "nn.NLLLoss()", "criterion(outputs, labels)", 10,
               "self.last = nn.LogSoftmax(dim=0)"),
        trainer(ZERO, "nn.NLLLoss()", "self.criterion(self.model(batch), target)"),
        functions("self.out(x).log_softmax(dim=0)", "F.nll_loss", "criterion(output, target)"),
        functions(LIN, "F.nll_loss", "criterion(torch.log_softmax(output, 0), target)"),
        lightning("F.log_softmax(self.net(x), dim=0)", "F.nll_loss(self(x), y)"),
        IMAGE + "model = torchvision.models.resnet18(weights='DEFAULT')\nmodel.eval()\n\n"
        "@torch.no_grad()\ndef classify(image):\n    outputs = model(image.unsqueeze(0))\n"
        "    return torch.softmax(outputs, dim=0)\n",
    ],
    "rounding-before-loss": [
        script(LIN, "nn.MSELoss()", "criterion(torch.round(outputs), labels)", 3),
        script(LIN, "nn.L1Loss()", "criterion(outputs.sign(), labels)", 3),
        trainer("torch.sigmoid(self.out(x)).round()", "nn.BCELoss()",
                "self.criterion(self.model(batch), target)"),
        lightning("self.net(x)", "F.mse_loss(torch.floor(self(x)), y)"),
        training("loss = F.mse_loss(rounded, y)", inner="rounded = model(x).round()"),
    ],
}  # fmt: skip

CLEAN = [
    script(LIN, BCEL, "criterion(outputs, labels)", 1),
    # symmetric, or of an order of its own
    script(LIN, "nn.MSELoss()", "criterion(labels, outputs)", 3),
    script(LIN, "nn.L1Loss()", "criterion(labels, outputs)", 3),
    # two outputs: distillation, contrast
    training("loss = F.cross_entropy(model(x), F.softmax(teacher(x), dim=1))", "teacher = model"),
    training("loss = F.cross_entropy(a @ b.t(), torch.arange(len(x)))",
             inner="a, b = model(x), model(y)"),
    # the labels go into the model, and its output is compared with the inputs
    training("loss = F.binary_cross_entropy_with_logits(model(y), x)"),
    training("loss = F.cross_entropy(scores, y)", inner="scores = model(x)"),
    # options of losses
    training("loss = loss_fn(model(x), y)", "loss_fn = nn.CrossEntropyLoss(torch.ones(10))"),
    training("loss = loss_fn(model(x), y)", "loss_fn = nn.BCEWithLogitsLoss(None, None)"),
    training("loss = nn.MSELoss(reduction='sum')(model(x), y)"),
    # dimensions that are meant
    "import torch\n\ndef mixed(weights, models, x):\n    shares = torch.softmax(weights, dim=0)\n"
    "    return sum(s * m(x) for s, m in zip(shares, models))\n",
    "import torch\n\ndef classify(model, image):\n    model.eval()\n    with torch.no_grad():\n"
    "        output = model(image.unsqueeze(0))\n    return torch.softmax(output[0], dim=0)\n",
    # one observation at a time
    "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"
    + network("F.softmax(self.out(x), dim=0)")
    + "\n\ndef act(net, state):\n    probs = net(torch.as_tensor(state).float())\n"
    "    return torch.distributions.Categorical(probs).sample()\n",
    # attention over the instances of a bag
    script("self.out((torch.softmax(self.att(x), dim=0) * x).sum(0, keepdim=True))", CE,
           "criterion(outputs, labels)", 10, "self.att = nn.Linear(30, 1)"),
    "import torch\nimport torch.nn.functional as F\n\ndef shares(scores, dim):\n"
    "    return F.softmax(scores, dim), F.softmax(scores, dim=dim), F.softmax(scores, -1)\n",
    "import numpy as np\nimport torch\nfrom scipy.special import softmax\n\ndef shares(scores):\n"
    "    return softmax(scores)\n",
    # rounding that passes the gradient on, or is only measured
    training("loss = F.mse_loss(out + (out.round() - out).detach(), y)", inner="out = model(x)"),
    training("loss = F.mse_loss(out, y)", inner="out = model(x)\n"
             "off = F.l1_loss(out.detach().round(), y)"),
    training("loss = F.mse_loss(model(x), y.round())"),
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


def test_names_alone_are_a_hint() -> None:
    text = (
        "import torch\nimport torch.nn.functional as F\n\ndef loss(labels, outputs):\n"
        "    return F.binary_cross_entropy_with_logits(labels, outputs)\n"
    )
    (found,) = found_in(text)
    assert (found.rule, found.severity) == ("swapped-loss-arguments", "hint")
    assert found.edits == ()


def test_swapped_arguments_are_swapped_back() -> None:
    text = training("loss = F.binary_cross_entropy_with_logits(y, model(x))")
    (found,) = found_in(text)
    lines = text.split("\n")
    for edit in sorted(found.edits, key=lambda one: one.start, reverse=True):
        row = edit.start[0] - 1
        lines[row] = lines[row][: edit.start[1]] + edit.text + lines[row][edit.end[1] :]
    assert "binary_cross_entropy_with_logits(model(x), y)" in "\n".join(lines)
    assert rules_in("\n".join(lines)) == []


def test_a_loss_made_with_tensors_is_called_instead() -> None:
    (found,) = found_in(training("loss = nn.MSELoss(model(x), y)"))
    assert [edit.text for edit in found.edits] == ["nn.MSELoss()(model(x), y)"]
