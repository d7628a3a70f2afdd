"""Files that are written and read, and states that are kept."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

AS_MODULE = [
    "import torch\nnet = torch.load('net.pt', 'cpu')\nnet.eval()\n",
    "import torch\nmodel = torch.load('net.pt', map_location='cpu')\nprint(model.state_dict())\n",
    "import torch\n\ndef f(p):\n    m = torch.load(p, 'cpu')\n    m.train()\n    return m\n",
    "from torch import load\nm = load('a.pt', map_location='cpu')\nn = sum(m.parameters())\n",
    "import torch\n\ndef f(p, d):\n    m = torch.load(p, map_location=d)\n"
    "    m.requires_grad_(False)\n",
]
AS_STATE = [
    "import torch\n\ndef f(m, p):\n    m.load_state_dict(torch.load(p, 'cpu'))\n",
    "import torch\nstate = torch.load('a.pt', map_location='cpu')\nprint(state['epoch'])\n",
    "import torch\nstate = torch.load('a.pt', map_location='cpu', weights_only=False)\n",
    "import torch\nx = torch.load('x.pt', 'cpu').to('cpu')\n",
    "import torch\nx = torch.load('x.pt', 'cpu')\nx = x.half()\n",
]
SAID = [
    "import torch\nm = torch.load('a.pt', 'cpu', weights_only=True)\n",
    "import torch\n\ndef f(**kw):\n    return torch.load('a.pt', **kw)\n",
    "import torch, json\nm = json.load(open('a.json'))\n",
    "import torch\nm = torch.jit.load('a.pt')\nm.eval()\n",
    "import torch\nfrom mine import Net\ntorch.serialization.add_safe_globals([Net])\n"
    "m = torch.load('a')\nm.eval()\n",
]


@pytest.mark.parametrize("text", AS_MODULE + AS_STATE)
def test_a_load_that_does_not_say_what_is_found(text: str) -> None:
    found = found_in(text)
    assert [one.rule for one in found] == ["torch-load-without-weights-only"]
    assert found[0].severity == ("hint" if "weights_only=False" in text else "warning")
    assert bool(found[0].edits) == (text in AS_STATE and "weights_only" not in text)


@pytest.mark.parametrize("text", SAID)
def test_a_load_that_says_what_is_none(text: str) -> None:
    assert rules_in(text) == []


WHOLE = [
    "import torch\n\ndef make(model, path):\n    model.eval()\n"
    "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n    torch.save(model, path)\n"
    "    return optimizer\n",
    "import torch\nfrom torchvision import models\nnet = models.resnet18()\n"
    "torch.save(net, 'net.pt')\n",
    "import torch\nfrom torch import nn\nnet = nn.Linear(2, 2)\n"
    "torch.save({'net': net, 'epoch': 3}, 'a')\n",
    "import torch\nfrom torch import nn\nnet = nn.Linear(2, 2)\nall = {'net': net}\n"
    "torch.save(all, 'a')\n",
    """\
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(2, 2)

        def forward(self, x):
            return self.fc(x)

        def save(self, path):
            torch.save(self, path)
    """,
    """\
    import torch
    from torch import nn

    class Trainer:
        def __init__(self):
            self.model = nn.Linear(2, 2).cuda(0) if False else nn.Linear(2, 2)

        def save(self, path):
            torch.save(self.model, path)
    """,
    """\
    import torch
    from model import Net

    def main():
        net = Net()
        torch.save(net, "net.pt")
    """,
]
NET = "from torch import nn\n\nclass Net(nn.Module):\n    pass\n"
NOT_WHOLE = [
    "import torch\n\ndef keep(model, optimizer, path):\n    torch.save(model, path)\n",
    "import torch\n\ndef keep(model, path):\n    model.eval()\n"
    "    if len(list(model.parameters())) == 0:\n        torch.save(model, path)\n",
    "import torch\nfrom torch import nn\nnet = nn.Linear(2, 2)\n"
    "torch.save(net.state_dict(), 'a')\n",
    "import torch\n\ndef save(model, path):\n    torch.save(model, path)\n",
    "import torch\nx = torch.ones(3)\ntorch.save(x, 'x.pt')\n",
    "import torch\nfrom torch import nn\nnet = torch.jit.script(nn.Linear(2, 2))\nnet.save('a')\n",
    "import torch\nfrom torch import nn\nnet = nn.Linear(2, 2)\n"
    "torch.save({'a': net.weight}, 'a')\n",
]


@pytest.mark.parametrize("text", WHOLE)
def test_a_whole_module_that_is_saved_is_found(text: str) -> None:
    found = found_in(text, model=NET) if "from model" in text else found_in(text)
    assert "save-whole-module" in {one.rule for one in found if one.severity == "warning"}
    assert {one.rule for one in found} <= {"save-whole-module", "cuda-hard-coded"}


@pytest.mark.parametrize("text", NOT_WHOLE)
def test_a_state_that_is_saved_is_none(text: str) -> None:
    assert rules_in(text) == []


def test_a_whole_module_is_a_hint_where_it_is_loaded_on_purpose() -> None:
    text = WHOLE[0] + "net = torch.load('net.pt', 'cpu', weights_only=False)\n"
    assert {one.severity for one in found_in(text)} == {"hint"}


FIT = """\
import copy
import torch

def fit(model, optimizer, loss_fn, train_loader, evaluate, epochs):
    best = 0.0
    for epoch in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
        score = evaluate(model)
        if score > best:
            best = score
            {keep}
    {use}
    return model
"""
LOAD = "model.load_state_dict(best_state)"
STEPS = """\
import copy
import torch

def fit(model, optimizer, loss_fn, batches, evaluate, steps, every):
    best, best_state = 0.0, None
    model.train()
    for step in range(steps):
        x, y = next(batches)
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        optimizer.step()
        if step % every == 0:
            score = evaluate(model)
            if score > best:
                best = score
                {keep}
        {use}
"""
LATER = "if step % 1000 == 999 and best_state is not None:\n            "
KEPT = [
    STEPS.format(
        keep="best_state = model.state_dict()", use=LATER + "torch.save(best_state, 'best.pt')"
    ),
    FIT.format(keep="best_state = model.state_dict()", use=LOAD),
    FIT.format(keep="best_state = model.state_dict().copy()", use=LOAD),
    FIT.format(keep="best_state = dict(model.state_dict())", use=LOAD),
    FIT.format(
        keep="best_state = {'net': model.state_dict(), 'epoch': epoch}",
        use="torch.save(best_state, 'best.pt')",
    ),
    FIT.format(keep="best_state = {k: v for k, v in model.state_dict().items()}", use=LOAD),
    """\
    import torch

    class EarlyStopping:
        def __init__(self):
            self.best, self.state = None, None

        def __call__(self, loss, model):
            if self.best is None or loss < self.best:
                self.best = loss
                self.state = model.state_dict()

        def restore(self, model):
            model.load_state_dict(self.state)
    """,
    """\
    import torch

    def folds(model, make, loss_fn, parts):
        start = model.state_dict()
        for loader in parts:
            model.load_state_dict(start)
            optimizer = make(model)
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss_fn(model(x), y).backward()
                optimizer.step()
    """,
    """\
    import torch

    def train_epoch(model, loader, loss_fn, optimizer):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()

    def main(model, loader, loss_fn, optimizer, score):
        best, state = 0.0, None
        for epoch in range(10):
            train_epoch(model, loader, loss_fn, optimizer)
            now = score(model)
            if now > best:
                best, kept = now, epoch
                state = model.state_dict()
        return state
    """,
]
NOT_KEPT = [
    STEPS.format(
        keep="best_state = copy.deepcopy(model.state_dict())",
        use=LATER + "torch.save(best_state, 'best.pt')",
    ),
    STEPS.format(
        keep="best_state = model.state_dict(); torch.save(best_state, 'best.pt')", use="pass"
    ),
    STEPS.format(
        keep="best_state = model.state_dict()",
        use="""best_state = model.state_dict()
        torch.save(best_state, 'last.pt')""",
    ),
    STEPS.format(keep="best_state = model.state_dict()", use=LATER + "print(len(best_state))"),
    FIT.format(keep="best_state = copy.deepcopy(model.state_dict())", use=LOAD),
    FIT.format(keep="best_state = {k: v.clone() for k, v in model.state_dict().items()}", use=LOAD),
    FIT.format(keep="torch.save(model.state_dict(), 'best.pt')", use="pass"),
    FIT.format(keep="state = model.state_dict(); torch.save(state, 'best.pt')", use="pass"),
    """\
    import torch

    def search(make, loss_fn, loader, score):
        best, state = 0.0, None
        for seed in range(3):
            torch.manual_seed(seed)
            model, optimizer = make()
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss_fn(model(x), y).backward()
                optimizer.step()
            if score(model) > best:
                best, state = score(model), model.state_dict()
        return state
    """,
    """\
    import torch

    def sync(policy, target):
        state = policy.state_dict()
        target.load_state_dict(state)
    """,
    FIT.format(keep="best_state = model.state_dict(); break", use=LOAD),
]


@pytest.mark.parametrize("text", KEPT)
def test_a_state_kept_by_reference_is_found(text: str) -> None:
    assert rules_in(text) == ["best-state-by-reference"]


@pytest.mark.parametrize("text", NOT_KEPT)
def test_a_state_that_is_copied_or_saved_is_none(text: str) -> None:
    assert rules_in(text) == []


HEAD = "import torch\nfrom torch import nn\n\ndef main(state, x):\n    model = nn.Linear(2, 2)\n"
ASSIGNED = [
    HEAD + "    model = model.load_state_dict(state)\n    return model\n",
    HEAD + "    net = model.load_state_dict(state)\n    net.eval()\n    return net\n",
    HEAD + "    model.load_state_dict(state).eval()\n    return model(x)\n",
    HEAD + "    model = nn.Linear(3, 3).load_state_dict(state)\n    return model\n",
    HEAD + "    net = model.load_state_dict(state, strict=False)\n    return net(x)\n",
    "import torch\n\nclass T:\n    def load(self, s):\n"
    "        self.m = self.m.load_state_dict(s)\n",
]
NOT_ASSIGNED = [
    HEAD + "    missing = model.load_state_dict(state, strict=False)\n    print(missing)\n",
    HEAD + "    missing, more = model.load_state_dict(state, strict=False)\n    return missing\n",
    HEAD + "    model.load_state_dict(state)\n    return model.eval()\n",
    HEAD + "    return model.load_state_dict(state)\n",
    "import torch\n\nclass Ema:\n    def load_state_dict(self, s):\n        return self\n\n"
    "ema = Ema()\nema = ema.load_state_dict({})\n",
]


@pytest.mark.parametrize("text", ASSIGNED)
def test_a_report_taken_for_the_model_is_found(text: str) -> None:
    assert rules_in(text) == ["load-state-dict-assigned"]


@pytest.mark.parametrize("text", NOT_ASSIGNED)
def test_a_report_that_is_read_is_none(text: str) -> None:
    assert rules_in(text) == []


def test_the_assignment_is_taken_away() -> None:
    (found,) = found_in(ASSIGNED[0])
    assert [edit.text for edit in found.edits] == ["model.load_state_dict(state)"]
    assert found.edits[0].start == (6, 4)


DEVICE = "device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')\n"
ANYWHERE = [
    f"import torch\n{DEVICE}state = torch.load('a.pt', weights_only=True)\n",
    "import torch\nd = torch.device('cpu')\nstate = torch.load('a.pt', weights_only=True)\n",
    f"import torch\n{DEVICE}\ndef f(m):\n"
    "    m.load_state_dict(torch.load('a', weights_only=True))\n",
    f"import torch as t\n{DEVICE.replace('torch', 't')}state = t.load('a.pt', weights_only=True)\n",
    f"from torch import load\nimport torch\n{DEVICE}state = load('a.pt', weights_only=True)\n",
]
SOMEWHERE = [
    f"import torch\n{DEVICE}state = torch.load('a.pt', map_location=device, weights_only=True)\n",
    f"import torch\n{DEVICE}state = torch.load('a.pt', device, weights_only=True)\n",
    f"import torch\n{DEVICE}options = {{}}\nstate = torch.load('a.pt', **options)\n",
    "import torch\nstate = torch.load('a.pt', weights_only=True)\n",
    f"import torch, pickle\n{DEVICE}state = pickle.load(open('a.pt', 'rb'))\n",
]


@pytest.mark.parametrize("text", ANYWHERE)
def test_a_load_without_a_device_is_a_hint(text: str) -> None:
    found = [(one.rule, one.severity) for one in found_in(text)]
    assert found == [("load-without-map-location", "hint")]


@pytest.mark.parametrize("text", SOMEWHERE)
def test_a_load_with_a_device_is_none(text: str) -> None:
    assert rules_in(text) == []


PLAIN = "net.load_state_dict(torch.load('a', 'cpu', weights_only=True))"


def wrapped(wrap: str, save: str, load: str = PLAIN) -> str:
    return f"""\
    import torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel as DDP

    def save(rank):
        model = nn.Linear(2, 2)
        {wrap}
        {save}

    def load():
        net = nn.Linear(2, 2)
        {load}
        return net
    """


SAVE = "torch.save(model.state_dict(), 'a')"
OF_WRAPPER = [
    wrapped("model = nn.DataParallel(model)", SAVE),
    wrapped("model = DDP(model, device_ids=[rank])", SAVE),
    wrapped("model = torch.compile(model)", SAVE),
    wrapped("model = DDP(model)", "torch.save({'net': model.state_dict(), 'epoch': 1}, 'a')"),
    wrapped("model = DDP(model)", "state = {'net': model.state_dict()}; torch.save(state, 'a')"),
]
NOT_OF_WRAPPER = [
    wrapped("model = nn.DataParallel(model)", SAVE.replace("model.", "model.module.")),
    wrapped("model = model.train()", SAVE),
    wrapped("other = DDP(model)", SAVE),
    wrapped(
        "model = DDP(model)", SAVE, "net = {k.removeprefix('module.'): v for k, v in net.items()}"
    ),
    wrapped("model.compile()", SAVE),
]


@pytest.mark.parametrize("text", OF_WRAPPER)
def test_the_state_of_a_wrapper_is_found(text: str) -> None:
    found = [(one.rule, one.severity) for one in found_in(text)]
    assert found == [("state-dict-of-wrapper", "warning")]


@pytest.mark.parametrize("text", NOT_OF_WRAPPER)
def test_the_state_of_the_model_is_none(text: str) -> None:
    assert rules_in(text) == []


def test_the_state_of_a_wrapper_is_a_hint_where_no_other_model_loads_it() -> None:
    found = found_in(wrapped("model = nn.DataParallel(model)", SAVE, "pass"))
    assert [one.severity for one in found] == ["hint"]
