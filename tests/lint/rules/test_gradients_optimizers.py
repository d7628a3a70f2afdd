"""What an optimizer has, and what happens to it afterwards."""

from __future__ import annotations

import textwrap

import pytest

from tests.lint.asked import found_in, rules_in

LOOP = """\
    loss_fn = nn.CrossEntropyLoss()
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
"""


def main(body: str, parameters: str = "loader") -> str:
    imports = "import torch\nfrom torch import nn, optim\nfrom torchvision import models\n\n"
    head = f"{imports}def main({parameters}):\n"
    return head + textwrap.indent(textwrap.dedent(body), "    ") + LOOP


REPLACED = [
    main(
        """\
        model = models.resnet50(weights="DEFAULT")
        optimizer = optim.Adam(model.parameters(), lr=1e-4)
        model.fc = nn.Sequential(nn.Dropout(0.2), nn.Linear(2048, 5))
        """
    ),
    main(
        """\
        model = models.vgg16()
        params = [p for p in model.parameters() if p.requires_grad]
        optimizer = optim.Adam(params, lr=1e-4)
        model.classifier[6] = nn.Linear(4096, 5)
        """
    ),
    main(
        """\
        model = models.resnet18()
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        for seed in range(3):
            torch.manual_seed(seed)
            model = models.resnet18()
        """
    ),
    """\
    import torch
    from torch import nn, optim

    class Trainer:
        def __init__(self, model, classes):
            self.model = model
            self.optimizer = optim.SGD(self.model.parameters(), lr=0.1)
            self.model.head = nn.Linear(256, classes)
            self.loss_fn = nn.CrossEntropyLoss()

        def fit(self, train_loader):
            self.model.train()
            for x, y in train_loader:
                self.optimizer.zero_grad()
                self.loss_fn(self.model(x), y).backward()
                self.optimizer.step()
    """,
    main(
        """\
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        model.scale = nn.Parameter(torch.ones(1))
        """,
        "model, loader",
    ),
]


@pytest.mark.parametrize("text", REPLACED)
def test_a_layer_replaced_after_the_optimizer_is_found(text: str) -> None:
    assert rules_in(text) == ["layer-replaced-after-optimizer"]


NOT_REPLACED = [
    main(
        """\
        model = models.resnet50(weights="DEFAULT")
        model.fc = nn.Linear(2048, 5)
        optimizer = optim.Adam(model.parameters(), lr=1e-4)
        model = nn.DataParallel(model)
        """
    ),
    main(
        """\
        model = models.resnet18()
        optimizer = optim.Adam(model.parameters(), lr=1e-4)
        model.fc = nn.Linear(512, 5)
        optimizer = optim.Adam(model.parameters(), lr=1e-4)
        """
    ),
    main(
        """\
        model = models.resnet18()
        optimizer = optim.Adam(model.parameters(), lr=1e-4)
        model.fc = nn.Linear(512, 5)
        optimizer.add_param_group({"params": model.fc.parameters()})
        """
    ),
    main(
        """\
        model = models.resnet18()
        optimizer = optim.Adam(model.parameters(), lr=1e-4)
        model.relu = nn.GELU()
        """
    ),
    main("model = models.resnet18()\noptimizer = optim.Adam(model.parameters())\n")
    + "    model = models.resnet18()\n    model.eval()\n    return model\n",
    main(
        """\
        model = models.resnet18()
        optimizer = optim.Adam(model.parameters(), lr=1e-4)
        model = torch.compile(model)
        """
    ),
]


@pytest.mark.parametrize("text", NOT_REPLACED)
def test_a_layer_replaced_in_time_is_none(text: str) -> None:
    assert rules_in(text) == []


MOVED = [
    main("optimizer = optim.Adagrad(model.parameters())\nmodel.cuda()\n", "model, loader"),
    main(
        """\
        optimizer = optim.Adam(model.parameters())
        optimizer.load_state_dict(state)
        model.to(device)
        """,
        "model, state, device, loader",
    ),
    main(
        "optimizer = optim.Adagrad(model.parameters())\nmodel = model.to(d)\n", "model, d, loader"
    ),
]
MOVED_AND_FINE = [
    main("optimizer = optim.Adam(model.parameters())\nmodel.to(device)\n", "model, device, loader"),
    main(
        "optimizer = optim.SGD(model.parameters(), lr=1)\nmodel = model.cuda()\n", "model, loader"
    ),
    main("optimizer = optim.Adagrad(model.parameters())\nmodel.double()\n", "model, loader"),
]


@pytest.mark.parametrize("text", MOVED + MOVED_AND_FINE)
def test_a_model_moved_after_its_optimizer_is_found(text: str) -> None:
    found = [one for one in found_in(text) if one.rule != "cuda-hard-coded"]
    assert {one.rule for one in found} >= {"optimizer-before-to"}
    is_certain = "error" in {one.severity for one in found if one.rule == "optimizer-before-to"}
    assert is_certain == (text in MOVED)


MOVED_IN_TIME = [
    main(
        "model.to(device)\noptimizer = optim.Adagrad(model.parameters())\n", "model, device, loader"
    ),
    main("optimizer = optim.Adam(model.parameters())\n", "model, loader") + '    model.to("cpu")\n',
    main("optimizer = optim.Adam(model.parameters())\n", "model, loader")
    + "    model.to('cuda')\n",
    main(
        "teacher.to(device)\noptimizer = optim.Adam(model.parameters())\nteacher.to(device)\n",
        "model, teacher, device, loader",
    ),
    main(
        "if deep:\n    optimizer = optim.Adagrad(model.parameters())\n"
        "else:\n    model.to(device)\n    optimizer = optim.Adam(model.parameters())\n",
        "model, deep, device, loader",
    ),
]


@pytest.mark.parametrize("text", MOVED_IN_TIME)
def test_a_model_moved_in_time_is_none(text: str) -> None:
    assert "optimizer-before-to" not in rules_in(text)


FROZEN = [
    main(
        """\
        model = models.resnet18()
        model.requires_grad_(False)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        """
    ),
    main(
        """\
        model = models.resnet18()
        for name, p in model.named_parameters():
            p.requires_grad_(False)
        model.to(device)
        optimizer = optim.SGD(filter(lambda p: p.requires_grad, model.parameters()), lr=0.1)
        """,
        "device, loader",
    ),
    main(
        """\
        model = models.resnet18()
        for p in model.parameters():
            p.requires_grad = False
        optimizer = optim.SGD(model.fc.parameters(), lr=0.1)
        """
    ),
    main(
        """\
        model = models.vgg16()
        for p in model.features.parameters():
            p.requires_grad = False
        optimizer = optim.SGD(model.features.parameters(), lr=0.1)
        """
    ),
    main(
        """\
        for p in model.parameters():
            p.requires_grad = False
        optimizer = optim.Adam([p for p in model.parameters() if p.requires_grad])
        """,
        "model, loader",
    ),
]


@pytest.mark.parametrize("text", FROZEN)
def test_nothing_but_frozen_parameters_is_found(text: str) -> None:
    assert rules_in(text) == ["nothing-to-train"]


NOT_FROZEN = [
    main(
        """\
        model = models.resnet18()
        for p in model.parameters():
            p.requires_grad = False
        for p in model.layer4.parameters():
            p.requires_grad = True
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        """
    ),
    main(
        """\
        model = models.resnet18()
        for name, p in model.named_parameters():
            if "fc" not in name:
                p.requires_grad = False
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        """
    ),
    main(
        """\
        model = models.resnet18()
        model.requires_grad_(False)
        replace_head(model)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        """
    ),
    main(
        """\
        model = models.resnet18()
        for p in model.features.parameters():
            p.requires_grad = False
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        """
    ),
    main(
        """\
        teacher.requires_grad_(False)
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        """,
        "teacher, model, loader",
    ),
]


@pytest.mark.parametrize("text", NOT_FROZEN)
def test_a_part_that_learns_is_none(text: str) -> None:
    assert rules_in(text) == []


ON_MODULE = [
    main(
        """\
        model = models.resnet18()
        model.layer1 = nn.Linear(3, 4)
        model.requires_grad = False
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        """
    ),
    main(
        """\
        for child in model.children():
            child.requires_grad = False
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        """,
        "model, loader",
    ),
    main(
        """\
        for name, child in model.named_children():
            child.requires_grad = False
        optimizer = optim.SGD(model.parameters(), lr=0.1)
        """,
        "model, loader",
    ),
    """\
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(8, 16)
            self.head = nn.Linear(16, 4)
            self.body.requires_grad = False

        def forward(self, x):
            return self.head(self.body(x).relu())
    """,
    """\
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Linear(8, 16)

        def forward(self, x):
            return self.body(x)

    net = Net()
    net.body.requires_grad = True
    """,
]


@pytest.mark.parametrize("text", ON_MODULE)
def test_requires_grad_of_a_module_is_found(text: str) -> None:
    assert rules_in(text) == ["requires-grad-on-module"]


NOT_ON_MODULE = [
    main(
        """\
        for p in model.parameters():
            p.requires_grad = True
        optimizer = optim.SGD(model.parameters(), lr=1)
        """,
        "model, loader",
    ),
    "import torch\nx = torch.ones(3)\nx.requires_grad = True\n",
    "from torch import nn\nlayer = nn.Linear(2, 2)\nlayer.weight.requires_grad = False\n",
    "from torch import nn\nlayer = nn.Linear(2, 2)\nlayer.bias.requires_grad = False\n",
    "import torch\ndef leaf(x):\n    x.requires_grad = True\n    return x\n",
]


@pytest.mark.parametrize("text", NOT_ON_MODULE)
def test_requires_grad_of_a_tensor_is_none(text: str) -> None:
    assert rules_in(text) == []
