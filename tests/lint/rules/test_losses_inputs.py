"""What goes into a loss as its input: logits, probabilities, log-probabilities."""

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

SOFT = "torch.softmax(self.out(x), dim=1)"
SIG = "torch.sigmoid(self.out(x)).squeeze(1)"
LIN = "self.out(x)"
LOG = "F.log_softmax(self.out(x), dim=-1)"
CE, BCE, BCEL = "nn.CrossEntropyLoss()", "nn.BCELoss()", "nn.BCEWithLogitsLoss()"
CALL = "criterion(outputs, labels)"
MINE = "self.criterion(self.model(batch), target)"
GIVEN = "criterion(output, target)"
SEQUENTIAL = """
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.{last})
"""
HEADED = """
import torchvision
model = torchvision.models.resnet18(weights="DEFAULT")
model.fc = nn.Sequential(nn.Linear(512, 10), {last})
criterion = {loss}
"""


def whole(setup: str, call: str) -> str:
    """Give a plain script: its setup makes the model, a loader comes from elsewhere."""
    return (
        "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
        "from data import loader\n"
        f"{setup}\noptimizer = torch.optim.Adam(model.parameters())\nmodel.train()\n"
        "for x, y in loader:\n    optimizer.zero_grad()\n"
        f"    loss = {call}\n    loss.backward()\n    optimizer.step()\n"
    )


FAULTS = {
    "softmax-before-cross-entropy": [
        script(SOFT, CE, CALL),
        trainer("F.softmax(self.out(x), dim=-1)", CE, MINE),
        functions("self.out(x).softmax(1)", CE, GIVEN),
        functions(SOFT, "F.cross_entropy", GIVEN),
        lightning("F.softmax(self.net(x), dim=1)", "F.cross_entropy(self(x), y)"),
        lightning("self.net(x)", "self.ce(self.act(self(x)), y)",
                  f"self.ce = {CE}", "self.act = nn.Softmax(dim=1)"),
        script("self.last(self.out(x))", CE, CALL, 10, "self.last = nn.Softmax(dim=-1)"),
        whole(SEQUENTIAL.format(last="Softmax(dim=1)"), "F.cross_entropy(model(x), y)"),
        whole(HEADED.format(last="nn.Softmax(dim=1)", loss=CE), "criterion(model(x), y)"),
        training("loss = F.cross_entropy(torch.softmax(model(x), dim=1), y)"),
        training("loss = F.cross_entropy(probs, y)", inner="probs = F.softmax(model(x), -1)"),
        training("loss = nn.CrossEntropyLoss(label_smoothing=0.1)(torch.sigmoid(model(x)), y)"),
        training("loss = criterion(model(x).softmax(dim=1), y)",
                 "criterion = lambda a, b: F.cross_entropy(a, b, label_smoothing=0.1)"),
        training("loss = criterion(model(x).softmax(dim=1), y)",
                 "criterion = functools.partial(F.cross_entropy, reduction='sum')",
                 setup="import functools"),
    ],
    "sigmoid-before-bce-with-logits": [
        script(SIG, BCEL, CALL, 1),
        trainer("F.sigmoid(self.out(x))", BCEL, MINE, 1),
        functions("self.out(x).sigmoid()", "F.binary_cross_entropy_with_logits", GIVEN, 1),
        lightning("self.act(self.net(x))", "self.bce(self(x), y)",
                  "self.act = nn.Sigmoid()", f"self.bce = {BCEL}", size=1),
        training("loss = F.multilabel_soft_margin_loss(torch.sigmoid(model(x)), y)"),
        whole(SEQUENTIAL.format(last="Sigmoid()"), "nn.BCEWithLogitsLoss()(model(x).view(-1), y)"),
    ],
    "bce-without-sigmoid": [
        script(LIN, BCE, CALL, 1),
        trainer(LIN, BCE, MINE, 1),
        functions("self.out(x).squeeze(-1)", "F.binary_cross_entropy", GIVEN, 1),
        lightning("self.net(x).squeeze(1)", "F.binary_cross_entropy(self(x), y)", size=1),
        whole(SEQUENTIAL.format(last="ReLU()"), "F.binary_cross_entropy(model(x), y)"),
        whole("import torchvision\nmodel = torchvision.models.resnet18(num_classes=1)",
              "F.binary_cross_entropy(model(x).squeeze(1), y)"),
        whole(HEADED.format(last="nn.Dropout(0.2)", loss=BCE), "criterion(model(x), y)"),
    ],
    "nll-without-log-softmax": [
        script(LIN, "nn.NLLLoss()", CALL),
        script(SOFT, "nn.NLLLoss()", CALL),
        trainer(LIN, "nn.NLLLoss()", MINE),
        functions(LIN, "F.nll_loss", GIVEN),
        lightning("self.net(x)", "F.nll_loss(self(x), y)"),
        training("loss = F.nll_loss(F.softmax(model(x), dim=1), y)"),
        whole(HEADED.format(last="nn.Dropout(0.2)", loss="nn.NLLLoss()"), "criterion(model(x), y)"),
    ],
    "log-of-softmax": [
        training("loss = F.nll_loss(torch.log(torch.softmax(model(x), dim=1)), y)"),
        training("loss = F.nll_loss(F.softmax(model(x), dim=1).log(), y)"),
        training("loss = F.nll_loss(torch.log(probs), y)", inner="probs = model(x).softmax(-1)"),
        training("loss = -torch.log(torch.sigmoid(model(x) - model(y))).mean()"),
        training("loss = -F.sigmoid(model(x)).log().mean()"),
        training("loss = -(y * torch.log(F.softmax(model(x), 1))).sum(dim=1).mean()"),
    ],
    "mse-on-probabilities": [
        training("loss = F.mse_loss(F.softmax(model(x), dim=1), F.one_hot(y, 10).float())"),
        training("loss = F.mse_loss(model(x), F.one_hot(y, num_classes=5).to(torch.float32))"),
        training("loss = mse(torch.sigmoid(model(x)), onehot)", "mse = nn.MSELoss()",
                 inner="onehot = F.one_hot(y, 3).float()"),
        script(SOFT, "nn.MSELoss()", "criterion(outputs, torch.eye(10)[labels])"),
        lightning("self.net(x).softmax(dim=1)", "F.mse_loss(self(x), F.one_hot(y, 10).float())"),
    ],
    "kl-div-arguments": [
        training("loss = F.kl_div(F.softmax(model(x), 1), y, reduction='batchmean')"),
        training("loss = F.kl_div(model(x).log_softmax(1), F.log_softmax(y, 1),"
                 " reduction='batchmean')"),
        script(LIN, 'nn.KLDivLoss(reduction="batchmean")', CALL),
        trainer(SOFT, 'nn.KLDivLoss(reduction="batchmean")', MINE),
        functions(LIN, 'nn.KLDivLoss(reduction="sum")', "criterion(output.softmax(1), target)"),
    ],
}  # fmt: skip

CLEAN = [
    script(LIN, CE, CALL),
    script(LIN, CE, CALL + "\n        shown = outputs.softmax(dim=1)"),
    trainer(LIN, CE, MINE),
    functions(LOG, "F.nll_loss", GIVEN),
    lightning("self.net(x)", "F.cross_entropy(self(x), y)"),
    training("loss = criterion(model(x), y) + torch.log(torch.sigmoid(torch.ones(1))).item()",
             "criterion = nn.MSELoss()"),
    # softmax for prediction only
    script("self.out(x) if self.training else torch.softmax(self.out(x), dim=1)", CE, CALL),
    # distillation: probabilities are the target
    training("loss = F.cross_entropy(model(x), F.softmax(y / 2.0, dim=1))"),
    training("loss = F.kl_div(F.log_softmax(model(x) / 4, 1), F.softmax(y / 4, 1),"
             " reduction='batchmean') * 16"),
    training("loss = F.kl_div(F.log_softmax(model(x), 1), F.log_softmax(y, 1),"
             " reduction='batchmean', log_target=True)"),
    # consistency of two networks (mean teacher)
    training("loss = F.mse_loss(F.softmax(model(x), 1), F.softmax(model(y), 1))"),
    # an attention inside of the network
    script("self.out(torch.softmax(x, dim=1) * x)", CE, CALL),
    # a sigmoid whose result is scaled, or clamped
    script("torch.sigmoid(self.out(x)) * 10 - 5", BCEL, CALL, 1),
    script("torch.clamp(torch.sigmoid(self.out(x)), 1e-6, 1 - 1e-6)", BCE, CALL, 1),
    script(SIG, BCE, "criterion(outputs, labels.float())", 1),
    trainer("torch.sigmoid(self.out(x))", BCE, MINE, 1),
    # an autoencoder of pictures with pixels between 0 and 1
    script("torch.sigmoid(self.out(x))", "nn.MSELoss()", "criterion(outputs, inputs)"),
    script("torch.sigmoid(self.out(x))", BCE, "criterion(outputs, inputs)"),
    whole(HEADED.format(last="nn.Sigmoid()", loss=BCE), "criterion(model(x), y)"),
    whole(HEADED.format(last="nn.LogSoftmax(dim=1)", loss="nn.NLLLoss()"),
          "criterion(model(x), y)"),
    whole(SEQUENTIAL.format(last="LogSoftmax(dim=1)"), "F.nll_loss(model(x), y)"),
    # the loss is one of two
    training("loss = criterion(torch.sigmoid(model(x)), y)",
             "criterion = nn.BCELoss() if model.binary else nn.CrossEntropyLoss()"),
    # log of something else
    training("loss = -torch.log(torch.sigmoid(model(x)) + 1e-8).mean()"),
    training("loss = F.nll_loss(torch.log_softmax(model(x), dim=1), y)"),
    training("loss = -(F.logsigmoid(model(x)) * y).mean()"),
    # a Brier score that is only measured
    "import torch\nimport torch.nn.functional as F\n\n@torch.no_grad()\n"
    "def brier(model, x, y):\n    model.eval()\n"
    "    return F.mse_loss(F.softmax(model(x), dim=1), F.one_hot(y, 10).float())\n",
    training("loss = F.mse_loss(model(x), y)"),
    # own losses of the same names
    training("loss = criterion(torch.softmax(model(x), 1), y)",
             setup="from losses import CrossEntropyLoss\ncriterion = CrossEntropyLoss()"),
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


def test_the_model_may_be_in_another_file() -> None:
    net = "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n\n"
    text = whole("from net import Net\nmodel = Net()", "F.cross_entropy(model(x), y)")
    assert rules_in(text, net=net + network(SOFT)) == ["softmax-before-cross-entropy"]
    assert "net.py" in found_in(text, net=net + network(SOFT))[0].message
    assert rules_in(text, net=net + network(LIN)) == []


def test_the_loss_may_be_in_another_file() -> None:
    engine = (
        "import torch\n\ndef epoch(model, loader, criterion, optimizer):\n    model.train()\n"
        "    for x, y in loader:\n        optimizer.zero_grad()\n"
        "        loss = criterion(model(x), y)\n"
        "        loss.backward()\n        optimizer.step()\n"
    )
    main = (
        "import torch\nfrom torch import nn\nimport torch.nn.functional as F\n"
        "from engine import epoch\n\n{net}\ndef main(loader):\n    model = Net()\n"
        "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    epoch(model, loader, nn.CrossEntropyLoss(), optimizer)\n"
    )
    assert rules_in(main.format(net=network(LIN)), engine=engine) == []
    found = found_in(main.format(net=network(SOFT)), engine=engine)
    assert [(one.rule, one.file, one.line) for one in found] == [
        ("softmax-before-cross-entropy", "engine.py", 7)
    ]


def test_what_is_harmless_is_a_hint() -> None:
    (found,) = found_in(script(LOG, CE, CALL))
    assert (found.rule, found.severity) == ("softmax-before-cross-entropy", "hint")
    text = training("loss = F.kl_div(model(x).log_softmax(1), y)")
    assert [(one.rule, one.severity) for one in found_in(text)] == [("kl-div-arguments", "hint")]
    text = training("loss = -(probs * probs.log()).sum()", inner="probs = model(x).softmax(-1)")
    assert [(one.rule, one.severity) for one in found_in(text)] == [("log-of-softmax", "hint")]


@pytest.mark.parametrize(
    ("line", "mended"),
    [
        ("loss = F.cross_entropy(F.softmax(model(x), dim=1), y)", "model(x)"),
        ("loss = F.binary_cross_entropy_with_logits(model(x).sigmoid(), y)", "model(x)"),
        ("loss = F.nll_loss(torch.log(F.softmax(model(x), dim=1)), y)",
         "F.log_softmax(model(x), dim=1)"),
        ("loss = F.nll_loss(model(x).softmax(-1).log(), y)", "model(x).log_softmax(-1)"),
    ],
)  # fmt: skip
def test_edits_mend_the_program(line: str, mended: str) -> None:
    text = training(line)
    (found,) = found_in(text)
    (edit,) = found.edits
    assert edit.text == mended
    lines = text.split("\n")
    (row, start), (_, end) = edit.start, edit.end
    lines[row - 1] = lines[row - 1][:start] + edit.text + lines[row - 1][end:]
    assert rules_in("\n".join(lines)) == []
