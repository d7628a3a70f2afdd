"""A function for dropout that is not told whether the module is in training mode."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from ..._model._file import File
from ..._model._roles import words_of
from ..._model._tree import argument, constant, has_stars, key
from ..._model._values import arguments_of
from ..._rule import Edit, Found, Rule, span
from ..._tensors._layers import module_classes, own_method

_ON: Final = ("dropout", "dropout1d", "dropout2d", "dropout3d")
_OFF: Final = ("alpha_dropout", "feature_alpha_dropout")
_ATTENTION: Final = "torch.nn.functional.scaled_dot_product_attention"
_DELIBERATE: Final = frozenset(
    {"mc", "monte", "carlo", "montecarlo", "bayesian", "bayes", "mcdropout"}
)


def check(file: File) -> Iterator[Found]:
    """Look for `F.dropout` and its kin in modules without ``training=self.training``.

    Args:
        file: The file.
    """
    names = [f"torch.nn.functional.{short}" for short in (*_ON, *_OFF)]
    for call in file.calls(*names):
        if has_stars(call) or argument(call, "training", 2) is not None:
            continue
        rate = argument(call, "p", 1)
        if constant(rate) == 0 or not _in_forward(file, call):
            continue
        if isinstance(constant(rate), bool) or key(rate).endswith(".training"):
            continue  # the mode in the place of the rate: another rule's matter
        short = file.dotted(call.func).rpartition(".")[2]
        effect = "is always on, in `eval()` too" if short in _ON else "never does anything"
        yield Found(
            call,
            f"`{ast.unparse(call.func)}` without `training=` {effect}.",
            "Write `training=self.training`.",
            edits=_told(file, call),
        )
    for call in file.calls(_ATTENTION):
        if not has_stars(call) and _in_forward(file, call):
            rate = argument(call, "dropout_p", 4)
            if rate is not None and _always(file, rate):
                yield Found(
                    call,
                    f"`dropout_p={ast.unparse(rate)}` drops attention in `eval()` too.",
                    f"Write `dropout_p={ast.unparse(rate)} if self.training else 0.0`.",
                )


def _in_forward(file: File, call: ast.Call) -> bool:
    """Say whether a call stands in a method of a module, where its mode is not asked for."""
    function = file.tree.function(call)
    home = file.tree.parent(function) if function is not None else None
    if function is None or not isinstance(home, ast.ClassDef) or home not in module_classes(file):
        return False
    words = set(words_of(home.name)) | set(words_of(function.name))
    if words & _DELIBERATE or own_method(home, "forward") is None:
        return False
    if function.name in ("training_step", "validation_step") or "train" in words_of(function.name):
        return False
    return not _asks(file, function, call)


def _asks(file: File, function: ast.AST, call: ast.Call) -> bool:
    """Say whether a test of the function asks for the mode before the call, or around it."""
    for node in file.tree.own(function):
        if isinstance(node, (ast.If, ast.IfExp)) and "train" in ast.unparse(node.test).lower():
            if file.tree.place(node) < file.tree.place(call):
                return True
    return False


def _always(file: File, rate: ast.expr) -> bool:
    """Say whether a rate is certainly larger than 0 at times, whatever the mode."""
    value = constant(rate)
    if isinstance(value, (int, float)):
        return value > 0
    if not key(rate).startswith("self."):
        return False
    for binding in file.values.bindings.reaching(rate).bindings:
        given = binding.value
        if binding.how != "whole" or given is None:
            return False
        if isinstance(given, ast.Name):
            function = file.tree.function(given)
            found = [constant(one) for _, one in arguments_of(file, function or given, given.id)]
            found.append(_default(function, given.id))
            if any(isinstance(one, (int, float)) and one > 0 for one in found):
                return True
        known = constant(given)
        if isinstance(known, (int, float)) and known > 0:
            return True
    return False


def _default(function: ast.AST | None, name: str) -> object:
    if not isinstance(function, ast.FunctionDef):
        return None
    order = function.args.args[::-1]
    for one, default in zip(order, function.args.defaults[::-1], strict=False):
        if one.arg == name:
            return constant(default)
    for one, given in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if one.arg == name:
            return constant(given)
    return None


def _told(file: File, call: ast.Call) -> tuple[Edit, ...]:
    function = file.tree.function(call)
    first = function.args.args[:1] if function is not None else []
    if not first or first[0].arg != "self" or file.tree.scope(call) is not function:
        return ()
    last = max([*call.args, *(one.value for one in call.keywords)], key=file.tree.place)
    if file.text_of(last).startswith("(") or isinstance(last, ast.GeneratorExp):
        return ()
    _, end = span(file, last)
    rest = file.lines[end[0] - 1][end[1] :].lstrip()
    if not rest.startswith((")", ",")):
        return ()
    return (Edit(end, end, ", training=self.training"),)


RULE = Rule(
    name="functional-dropout-without-training",
    severity="error",
    title="`F.dropout` without `training=`",
    why=(
        "`F.dropout(x, 0.5)` knows nothing of the module around it: `training` is True by"
        " default, so `model.eval()` does not switch it off, and validation and predictions"
        " are noisy and worse than they need be. `F.alpha_dropout` is off by default and never"
        " does anything. `dropout_p` of `F.scaled_dot_product_attention` is applied as given,"
        " in evaluation as well."
    ),
    fix="Write `training=self.training`, or use the layer `nn.Dropout`.",
    bad="""\
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        x = F.dropout(F.relu(self.hidden(x)), p=0.5)
        return self.out(x)
""",
    good="""\
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.out = nn.Linear(16, 4)

    def forward(self, x):
        x = F.dropout(F.relu(self.hidden(x)), p=0.5, training=self.training)
        return self.out(x)
""",
    source="PyTorch docs, torch.nn.functional.dropout and scaled_dot_product_attention.",
    check=check,
)
