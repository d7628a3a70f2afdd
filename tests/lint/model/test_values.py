"""What expressions are: through names, attributes, parameters, functions, classes and files."""

from __future__ import annotations

import ast

import pytest

from fitwell.lint._model._roles import role_of_name, words_of

from .test_flow import project

HEAD = "import torch\nfrom torch import nn, optim\nfrom torch.utils.data import DataLoader\n"


def kinds(text: str, **others: str) -> list[tuple[str, str]]:
    """Give kind and name of what ``use`` is given."""
    file = project(HEAD + text, **others)
    (call,) = file.calls("use")
    return [(value.kind, value.short) for value in file.values.of(call.args[0])]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("use(nn.Linear(1, 2))", [("module", "Linear")]),
        ("use(nn.MSELoss())", [("loss", "MSELoss")]),
        ("use(torch.nn.modules.loss.MSELoss())", [("loss", "MSELoss")]),
        ("a = nn.Linear(1, 2).to('cpu')\nb = a\nuse(b)", [("module", "Linear")]),
        ("model = nn.Linear(1, 2)\nmodel = model.cuda()\nuse(model)", [("module", "Linear")]),
        ("a, b = nn.ReLU(), nn.MSELoss()\nuse(b)", [("loss", "MSELoss")]),
        ("net = nn.DataParallel(nn.Linear(1, 2))\nuse(net)", [("module", "Linear")]),
        ("o = optim.AdamW([])\nuse(o)", [("optimizer", "AdamW")]),
        ("s = optim.lr_scheduler.StepLR(o, 3)\nuse(s)", [("scheduler", "StepLR")]),
        ("use(DataLoader([1]))", [("loader", "DataLoader")]),
        ("if x:\n    a = nn.ReLU()\nelse:\n    a = nn.Tanh()\nuse(a)",
         [("module", "ReLU"), ("module", "Tanh")]),
        ("if x:\n    a = nn.ReLU()\nelse:\n    a = make()\nuse(a)", []),
        ("a = None\nif x:\n    a = nn.ReLU()\nuse(a)", [("module", "ReLU")]),
        ("def f():\n    return nn.ReLU(), DataLoader([1])\na, b = f()\nuse(b)",
         [("loader", "DataLoader")]),
        ("def f(a, b=nn.ReLU()):\n    use(b)\nf(1)", [("module", "ReLU")]),
        ("def f(a, *, b):\n    use(b)\nf(1, b=nn.Tanh())\nf(2, b=nn.ReLU())",
         [("module", "Tanh"), ("module", "ReLU")]),
        ("def f(a, b):\n    use(b)\nf(1, nn.Tanh())\nf(2, other())", []),
        ("def f(b):\n    use(b)", []),
        ("def f(b):\n    use(b)\nf(*args)", []),
        ("model, opt = accelerator.prepare(nn.ReLU(), 3)\nuse(model)", [("module", "ReLU")]),
        ("for a in [nn.ReLU()]:\n    use(a)", []),
    ],
)  # fmt: skip
def test_what_an_expression_is(text: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(text) == expected


TRAINER = """
class Trainer:
    def __init__(self, model, lr=0.1):
        self.model = model.to("cuda")
        self.criterion = nn.CrossEntropyLoss()
        self.opt = optim.SGD(self.model.parameters(), lr=lr)

    def fit(self, loader):
        use({what})

class Net(nn.Module):
    pass

trainer = Trainer(Net())
trainer.fit(DataLoader([1]))
"""


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("self.model", [("module", "Net")]),
        ("self.criterion", [("loss", "CrossEntropyLoss")]),
        ("self.opt", [("optimizer", "SGD")]),
        ("loader", [("loader", "DataLoader")]),
        ("self.other", []),
    ],
)
def test_attributes_and_arguments_of_a_trainer(what: str, expected: list[tuple[str, str]]) -> None:
    assert kinds(TRAINER.format(what=what)) == expected


BASE = """
from torch import nn

class Base(nn.Module):
    def __init__(self):
        self.act = nn.Tanh()
"""
NET = """
from middle import Middle

class Net(Middle):
    def forward(self, x):
        use(self.act)
"""


def test_classes_of_other_files() -> None:
    middle = "from base import Base as B\n\nclass Middle(B):\n    pass\n"
    assert kinds(NET, base=BASE, middle=middle) == [("module", "Tanh")]
    file = project(NET, base=BASE, middle=middle)
    assert [node.name for node in file.modules] == ["Net"]
    text = "from base import Base\nnet = Base()\nuse(net.act)"
    assert kinds(text, base=BASE) == [("module", "Tanh")]


def test_names_that_lead_to_themselves_end() -> None:
    assert kinds("a = b\nb = a\nuse(a)") == []
    assert kinds("def f(x):\n    return f(x)\nuse(f(1))") == []
    assert kinds("from train import x\nx = x\nuse(x)") == []


def test_a_loop_knows_its_loader_its_role_and_its_batch() -> None:
    text = """
    from tqdm import tqdm
    from torch.utils.data import DataLoader

    def run(model, opt, data, val_loader, loaders):
        loader = DataLoader(data)
        bar = tqdm(enumerate(loader))
        for i, (x, y) in bar:
            model(x).sum().backward()
            opt.step()
        for batch in val_loader:
            model(batch)
        for x in loaders["test"]:
            model(x)
        for i in range(3):
            pass
    """
    file = project(text)
    found = [(ast.unparse(one.loader), set(one.roles), one.trains, one.batch) for one in file.loops]
    assert found == [
        ("loader", set(), True, ("i", "x", "y")),
        ("val_loader", {"valid"}, False, ("batch",)),
        ("loaders['test']", {"test"}, False, ("x",)),
    ]


def test_a_step_takes_in_what_functions_do() -> None:
    text = """
    def backward(loss, scaler):
        scaler.scale(loss).backward()

    class Trainer:
        def train_step(self, x):
            self.optimizer.zero_grad()
            backward(self.model(x).sum(), self.scaler)
            self.scaler.step(self.optimizer)
            self.scaler.update()

        def fit(self, loader):
            for epoch in range(3):
                for x in loader:
                    self.train_step(x)
                self.scheduler.step()
    """
    file = project(text)
    (step,) = file.steps
    assert [event.what for event in step.events] == ["zero", "backward", "step", "update"]
    assert step.in_loop
    assert ast.unparse(step.events[0].site) == "self.train_step(x)"


def test_words_and_roles_of_names() -> None:
    assert words_of("myTestLoader2_HTTP") == ["my", "test", "loader", "http"]
    assert role_of_name("X_train") == {"train"}
    assert role_of_name("valSet") == {"valid"}
    assert role_of_name("latest_contest") == frozenset()
    assert role_of_name("train_and_test") == {"train", "test"}
