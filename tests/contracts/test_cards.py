"""Every public name has a card, and what the card says about arguments and shapes is true.

The suite walks the package; nothing is listed. First the checks are shown to fail on a broken
method kept in this file.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.cards import Card, read_card
from fitwell.core.catalog import Entry, entries
from fitwell.core.references import references
from fitwell.data._augment import AUGMENTATIONS

FAMILIES = ("data", "doctor", "estimators", "losses", "metrics", "nn", "optim", "train")
WITH_CARD_LINES = ("losses", "nn", "optim")
"""Families whose classes are methods (in `nn`, the modules); in `data` the augmentations are."""

PRIMES = (2, 3, 5, 7, 11, 13)
SIDES = {"H": 17, "W": 19}
"""Images must be large enough for the pooling of the models that take any size."""

CASES: Mapping[str, Mapping[str, Any]] = {
    "nn.Normalize": {"mean": (0.1, 0.2, 0.3), "std": (1.0, 2.0, 3.0), "C": 3},
    "nn.TableEncoder": {
        "cardinalities": (0, 0, 0),
        "mean": (0.0, 1.0, 2.0),
        "std": (1.0, 2.0, 3.0),
        "missing": (True, False, False),
        "F": 3,
    },
    "nn.LocallyConnected2d": {"in_channels": 2, "kernel_size": 3, "image_size": (5, 5)},
}
"""Arguments, and letters they decide, where the constructor needs more than whole numbers."""


def public(kinds: tuple[str, ...] = ("class", "function")) -> list[Entry]:
    return [e for family in FAMILIES for e in entries(family) if e.kind in kinds]


def load(entry: Entry) -> Any:
    return getattr(importlib.import_module(f"fitwell.{entry.family}"), entry.name)


def is_method(entry: Entry, value: Any) -> bool:
    """Say whether the lines `Source` and `Checked against` are required."""
    if not inspect.isclass(value) or getattr(value, "_is_protocol", False):
        return False
    if entry.family == "data":
        return value in AUGMENTATIONS.values()
    if entry.family == "nn":
        return issubclass(value, nn.Module)
    return entry.family in WITH_CARD_LINES


def is_plain(value: Any) -> bool:
    """Say whether it is a function of five plain lines, for which one line is enough."""
    if inspect.isclass(value):
        return False
    tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(value))).body[0]
    body = tree.body[1:] if isinstance(tree, ast.FunctionDef) else []
    return sum((node.end_lineno or 0) - node.lineno + 1 for node in body) <= 5


def parameters(value: Any) -> Mapping[str, inspect.Parameter]:
    """Give the parameters of a function or constructor; torch's own has none to explain."""
    inherited = inspect.isclass(value) and value.__init__ is nn.Module.__init__
    if inherited or getattr(value, "_is_protocol", False):
        return {}
    return inspect.signature(value).parameters


def card_problems(card: Card, value: Any, *, method: bool) -> list[str]:
    """Give what is wrong with a card."""
    wrong = [] if card.summary else ["no docstring"]
    names = set(parameters(value))
    if not (is_plain(value) and not card.args):
        wrong += [f"Args lacks {name}" for name in sorted(names - set(card.args))]
    wrong += [f"Args has {name}" for name in sorted(set(card.args) - names)]
    if method:
        wrong += [] if card.source else ["no Source"]
        wrong += [] if card.checked_against else ["no Checked against"]
    if card.source and not card.keys:
        wrong.append(f"Source names no key: {card.source}")
    return wrong + [f"no reference {key}" for key in card.keys if key not in references()]


@dataclass
class Letters:
    """Sizes of axes: letters and names are bound when they are first seen."""

    bound: dict[str, int]
    primes: Iterator[int]

    def size(self, node: ast.expr) -> int:
        if isinstance(node, ast.Constant) and isinstance(node.value, int):
            return node.value
        if isinstance(node, ast.Name):
            if node.id not in self.bound:
                self.bound[node.id] = SIDES.get(node.id) or next(self.primes)
            return self.bound[node.id]
        if isinstance(node, ast.BinOp):
            left, right = self.size(node.left), self.size(node.right)
            operations = {ast.Mult: left * right, ast.Add: left + right, ast.Sub: left - right}
            return {**operations, ast.FloorDiv: left // (right or 1)}[type(node.op)]
        raise ValueError(f"not a size: {ast.unparse(node)}")

    def shape(self, text: str) -> tuple[int, ...]:
        inner = text.strip().rstrip(".").strip()
        tree = ast.parse(inner, mode="eval").body
        axes = tree.elts if isinstance(tree, ast.Tuple) else [tree]
        sizes: list[int] = []
        for axis in axes:
            free = isinstance(axis, ast.Constant) and axis.value is Ellipsis
            sizes += (3, 5) if free else (self.size(axis),)
        return tuple(sizes)


def build(value: Any, case: Mapping[str, Any], letters: Letters) -> Any:
    """Build an object: required whole numbers become primes, the rest is the default."""
    given = {}
    for name, parameter in parameters(value).items():
        if name in case:
            given[name] = case[name]
        elif parameter.default is parameter.empty:
            given[name] = letters.size(ast.Name(name))
        size = given.get(name, parameter.default)
        if isinstance(size, int):
            letters.bound[name] = size
    return value(**given)


def shape_problems(path: str, card: Card, value: Any) -> list[str]:
    """Run the object on inputs of the shapes its card gives and compare what comes back."""
    case = CASES.get(path, {})
    letters = Letters({k: v for k, v in case.items() if len(k) == 1}, iter(PRIMES))
    thing = build(value, case, letters)
    if isinstance(thing, nn.Module):
        thing.eval()
    generator = torch.Generator().manual_seed(0)
    shapes = {name: letters.shape(text) for name, text in card.shapes.items() if name != "return"}
    inputs: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        inputs[name] = torch.randn(shape, generator=generator)
        if name == "tokens":
            inputs[name] = torch.randint(letters.bound["vocab_size"], shape, generator=generator)
        if name == "targets" and shape != shapes.get("outputs"):
            inputs[name] = torch.randint(shapes["outputs"][-1], shape, generator=generator)
    if not isinstance(thing, nn.Module) and "generator" in inspect.signature(thing).parameters:
        output = thing(*inputs.values(), generator)
    else:
        output = thing(*inputs.values())
    for name in ast.walk(ast.parse(card.shapes["return"])):
        if isinstance(name, ast.Name) and isinstance(getattr(thing, name.id, None), int):
            letters.bound[name.id] = getattr(thing, name.id)
    stated = (
        () if card.shapes["return"].strip(" .") == "()" else letters.shape(card.shapes["return"])
    )
    if tuple(output.shape) != stated:
        return [
            f"return is {tuple(output.shape)}, the card says {card.shapes['return']} = {stated}"
        ]
    return []


class Broken(nn.Module):
    """Halve the width.

    Args:
        wide: A name that the constructor does not have.

    Shapes:
        x: (B, D * 2)
        return: (B, D * 2)

    Source: nobody2000nothing.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        return x[:, : x.shape[1] // 2]


def test_a_broken_card_is_caught() -> None:
    assert card_problems(read_card(Broken.__doc__), Broken, method=True) == [
        "Args lacks width",
        "Args has wide",
        "no Checked against",
        "no reference nobody2000nothing",
    ]


def test_a_source_without_key_is_caught() -> None:
    card = read_card("Do.\n\nSource: a talk.\nChecked against: nothing.")
    assert card_problems(card, nn.Identity, method=False)[-1] == "Source names no key: a talk."


def test_a_wrong_shape_is_caught() -> None:
    # The width takes the first prime, 2; then B is 3 and D is 5.
    (problem,) = shape_problems("nn.Broken", read_card(Broken.__doc__), Broken)
    assert problem == "return is (3, 5), the card says (B, D * 2) = (3, 10)"


@pytest.mark.parametrize(
    ("text", "shape"),
    [("(B, D)", (2, 3)), ("(B, ...)", (2, 3, 5)), ("(B, D * 2 + 1).", (2, 7)), ("(B,)", (2,))],
)
def test_shapes_are_read(text: str, shape: tuple[int, ...]) -> None:
    assert Letters({}, iter(PRIMES)).shape(text) == shape


@pytest.mark.parametrize("entry", public(), ids=lambda entry: entry.path)
def test_every_public_name_has_a_true_card(entry: Entry) -> None:
    value = load(entry)
    assert card_problems(entry.card, value, method=is_method(entry, value)) == []


def with_shapes() -> list[Entry]:
    return [entry for entry in public(("class",)) if "return" in entry.card.shapes]


@pytest.mark.parametrize("entry", with_shapes(), ids=lambda entry: entry.path)
def test_shapes_are_what_the_card_says(entry: Entry) -> None:
    assert shape_problems(entry.path, entry.card, load(entry)) == []


def test_every_layer_and_loss_states_its_shapes() -> None:
    layers = [e for e in public(("class",)) if e.family in ("nn", "losses")]
    assert [e.path for e in layers if is_method(e, load(e)) and "return" not in e.card.shapes] == []


def test_the_cases_are_of_names_that_exist() -> None:
    assert set(CASES) <= {entry.path for entry in with_shapes()}
    assert len(set(itertools.chain(PRIMES, SIDES.values()))) == len(PRIMES) + len(SIDES)
