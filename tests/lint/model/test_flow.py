"""What a name may hold at a place, checked by running programs; and what was last done to it."""

from __future__ import annotations

import ast
import random
import textwrap
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fitwell.lint._model._file import File
from fitwell.lint._model._project import Project


def project(text: str, **others: str) -> File:
    files = [File("train.py", textwrap.dedent(text))]
    files += [File(f"{stem}.py", textwrap.dedent(other)) for stem, other in others.items()]
    Project(files).link()
    return files[0]


class Writer:
    """Writes a random program of assignments, branches, loops and uses of two names."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.count = 0
        self.lines: list[str] = []

    def number(self) -> int:
        self.count += 1
        return self.count

    def block(self, depth: int) -> None:
        indent = "    " * depth
        for _ in range(self.random.randint(1, 4)):
            kind = self.random.random()
            name = self.random.choice("ab")
            if kind < 0.4 or depth > 4:
                self.lines.append(f"{indent}{name} = {self.number()}")
            elif kind < 0.7:
                self.lines.append(f"{indent}use({name}, {self.number()})")
            elif kind < 0.85:
                self.lines.append(f"{indent}if flag():")
                self.block(depth + 1)
                if self.random.random() < 0.5:
                    self.lines.append(f"{indent}else:")
                    self.block(depth + 1)
            elif kind < 0.93:
                self.lines.append(f"{indent}for i in range(times()):")
                self.block(depth + 1)
            else:
                self.lines.append(f"{indent}while flag():")
                self.block(depth + 1)

    def program(self) -> str:
        self.lines = ["def main():", "    a = -1", "    b = -2"]
        self.block(1)
        self.lines.append(f"    use(a, {self.number()})")
        return "\n".join(self.lines) + "\n"


def seen(text: str) -> dict[int, set[int]]:
    """Give the values that each use saw in many runs with random branches."""
    found: dict[int, set[int]] = defaultdict(set)
    for seed in range(30):
        chance = random.Random(seed)
        names = {
            "use": lambda value, place: found[place].add(value),
            "flag": lambda chance=chance: chance.random() < 0.5,
            "times": lambda chance=chance: chance.randint(0, 2),
        }
        exec(text, names)
        names["main"]()  # type: ignore[operator]
    return found


def may_hold(text: str) -> dict[int, set[int]]:
    """Give the values that each use may see, as the text tells."""
    file = project(text)
    found: dict[int, set[int]] = {}
    for call in file.calls("use"):
        reaching = file.values.bindings.reaching(call.args[0])
        values = {ast.literal_eval(one.value) for one in reaching.bindings if one.value is not None}
        found[ast.literal_eval(call.args[1])] = values
    return found


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_all_that_a_name_holds_in_a_run_is_known_before(seed: int) -> None:
    text = Writer(seed).program()
    possible = may_hold(text)
    for place, values in seen(text).items():
        assert values <= possible[place], text


def test_what_was_overwritten_is_not_held() -> None:
    text = """\
    def main():
        a = 1
        a = 2
        use(a, 1)
        if flag():
            a = 3
            use(a, 2)
        use(a, 3)
        a = 4
        for _ in x:
            use(a, 4)
            a = 5
        use(a, 5)
    """
    assert may_hold(textwrap.dedent(text)) == {1: {2}, 2: {3}, 3: {2, 3}, 4: {4, 5}, 5: {4, 5}}


NET = """
import torch
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.body(x)
        {body}
        return x
"""


@pytest.mark.parametrize(
    ("body", "kinds"),
    [
        ("pass", {"relu"}),
        ("x = self.head(x)", {"linear"}),
        ("x = F.softmax(self.head(x), dim=1)", {"softmax"}),
        ("x = self.head(x).softmax(-1).squeeze(1)", {"softmax"}),
        ("x = torch.sigmoid(self.head(x)).view(-1)", {"sigmoid"}),
        ("x = nn.LogSoftmax(dim=1)(self.head(x))", {"log_softmax"}),
        ("x = nn.functional.log_softmax(self.head(x), 1)[:, 0]", {"log_softmax"}),
        ("x = self.head(x) if self.training else self.head(x).softmax(1)", {"linear", "softmax"}),
        ("x = 2 * x", {"arithmetic"}),
        ("x = unknown(x)", set()),
    ],
)
def test_the_last_operation_of_a_model_is_that_of_its_forward(body: str, kinds: set[str]) -> None:
    text = NET.format(body=body) + "\nmodel = Net()\nout = model(torch.ones(3, 4))\nuse(out)\n"
    file = project(text)
    (call,) = file.calls("use")
    assert {one.kind for one in file.flow.last(call.args[0])} == kinds


def test_flow_goes_through_functions_and_files() -> None:
    text = """
    from torch import nn
    from model import make, Wrapped

    def step(model, x, criterion):
        out = model(x)
        return criterion(out, x), out

    def main(x):
        net = make()
        loss, out = step(net, x, nn.MSELoss())
        use(out)
        wrapped = Wrapped(net)
        use(wrapped(x))
        use(wrapped.inner(x))
    """
    model = """
    from torch import nn

    class Wrapped(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x):
            return self.inner(x).softmax(1)

    def make(width=8):
        layers = nn.Sequential(nn.Linear(4, width), nn.Sigmoid())
        return layers
    """
    file = project(text, model=model)
    found = [{one.kind for one in file.flow.last(call.args[0])} for call in file.calls("use")]
    assert found == [{"sigmoid"}, {"softmax"}, {"sigmoid"}]
