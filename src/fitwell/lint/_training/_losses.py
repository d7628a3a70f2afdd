"""Where a file computes a loss: which one, of what, in all the forms in which people write it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Final, final

from .._model._bindings import given, parameters
from .._model._flow import Operation, _of_value
from .._model._tree import argument, has_stars, key
from .._model._values import arguments_of

if TYPE_CHECKING:
    from .._model._file import File

CLASSES: Final = {
    "CrossEntropyLoss": "cross_entropy", "NLLLoss": "nll", "NLLLoss2d": "nll", "BCELoss": "bce",
    "BCEWithLogitsLoss": "bce_logits", "MSELoss": "mse", "L1Loss": "l1",
    "SmoothL1Loss": "smooth_l1", "HuberLoss": "huber", "KLDivLoss": "kl_div",
    "MultiLabelSoftMarginLoss": "multilabel",
    "MultiMarginLoss": "multi_margin", "PoissonNLLLoss": "poisson",
}  # fmt: skip
"""Classes of losses in ``torch.nn``, and what rules call them."""
FUNCTIONS: Final = {
    "cross_entropy": "cross_entropy", "nll_loss": "nll", "binary_cross_entropy": "bce",
    "binary_cross_entropy_with_logits": "bce_logits", "mse_loss": "mse", "l1_loss": "l1",
    "smooth_l1_loss": "smooth_l1", "huber_loss": "huber", "kl_div": "kl_div",
    "multilabel_soft_margin_loss": "multilabel", "multi_margin_loss": "multi_margin",
    "poisson_nll_loss": "poisson",
}  # fmt: skip
"""The same as functions."""
_FOCAL: Final = frozenset(
    {"torchvision.ops.sigmoid_focal_loss", "torchvision.ops.focal_loss.sigmoid_focal_loss"}
)
_SPEAKS: Final = re.compile(r"loss|crit|cost|objective|entropy|nll|bce|mse|func|fn|^ce$|^kl", re.I)
_HEADS: Final = frozenset(
    {"fc", "classifier", "head", "heads", "last_linear", "output", "logits", "out", "proj"}
)
_DEPTH: Final = 6


@final
@dataclass(frozen=True)
class _Made:
    """A loss: its kind, its name for messages, and the calls that set its options."""

    kind: str
    name: str
    settings: tuple[ast.Call, ...]
    by_position: bool = False  # whether the only positional arguments are options
    lambda_: ast.Lambda | None = None


@final
@dataclass(frozen=True, eq=False)
class LossCall:
    """A place where a loss is computed.

    Args:
        kind: `cross_entropy`, `nll`, `bce`, `bce_logits`, `mse`, `l1`, `smooth_l1`, `huber`,
            `kl_div`, `multilabel`, `multi_margin`, `poisson`.
        name: As messages call it, such as ``CrossEntropyLoss`` or ``F.cross_entropy``.
        call: The call.
        input: What the model gave; None where it is not seen.
        target: What it should have given; None where it is not seen.
        settings: The calls that may hold its options, the nearest one first.
        file: The file of the call.
    """

    kind: str
    name: str
    call: ast.Call
    input: ast.expr | None
    target: ast.expr | None
    settings: tuple[ast.Call, ...] = field(repr=False)
    file: File = field(repr=False)

    def option(self, name: str) -> ast.expr | None:
        """Give an option that is set by its name, such as ``reduction``.

        Args:
            name: Of the option.
        """
        found = (argument(call, name) for call in self.settings)
        return next((value for value in found if value is not None), None)

    @property
    def options_seen(self) -> bool:
        """Whether no option is hidden, as by ``**settings``."""
        return not any(has_stars(call) for call in self.settings)


def loss_calls(file: File) -> Iterator[LossCall]:
    """Find where losses are computed.

    Args:
        file: The file.
    """
    for call in file.tree.each(ast.Call):
        if not 2 <= len(call.args) + len(call.keywords) <= 12:
            continue
        if isinstance(call.func, ast.Attribute) and not key(call.func):
            continue  # a method of something without a name
        made = _made(file, call.func, 0)
        if not made or len({(one.kind, one.lambda_) for one in made}) > 1:
            continue
        one = min(made, key=lambda loss: loss.name)
        value, target = _sides(call, one)
        if value is None and target is None:
            continue
        settings = tuple(setting for each in made for setting in each.settings)
        yield LossCall(one.kind, one.name, call, value, target, (call, *settings), file)


def _sides(call: ast.Call, made: _Made) -> tuple[ast.expr | None, ast.expr | None]:
    if made.lambda_ is None:
        value = argument(call, "input", 0) or argument(call, "inputs")
        return value, argument(call, "target", 1) or argument(call, "targets")
    inner = made.lambda_.body
    if not isinstance(inner, ast.Call):
        return None, None
    names = [argument(inner, "input", 0), argument(inner, "target", 1)]
    sides: list[ast.expr | None] = []
    for name in names:
        known = key(name) in parameters(made.lambda_)
        sides.append(given(call, made.lambda_, key(name), bound=False).value if known else None)
    return sides[0], sides[1]


def _made(file: File, node: ast.AST | None, depth: int) -> frozenset[_Made] | None:
    """Give the losses that an expression may be; None if one of that is not known."""
    if node is None or depth > _DEPTH:
        return None
    if isinstance(node, (ast.Name, ast.Attribute)):
        found = _function(file, node)
        if found is not None:
            return frozenset({found})
    values = file.values.of(node)
    if values:
        if not all(one.name.startswith("torch.nn.") and one.short in CLASSES for one in values):
            return None
        return frozenset(_Made(CLASSES[one.short], one.short, (one.call,)) for one in values)
    if isinstance(node, ast.Lambda):
        inner = _made(file, node.body.func, depth + 1) if isinstance(node.body, ast.Call) else None
        return frozenset(
            _Made(one.kind, one.name, one.settings, lambda_=node)
            for one in inner or ()
            if one.lambda_ is None
        )
    if isinstance(node, ast.Call):
        return _partial(file, node, depth)
    if isinstance(node, ast.IfExp):
        return _union(_made(file, node.body, depth + 1), _made(file, node.orelse, depth + 1))
    return _named(file, node, depth)


def _function(file: File, node: ast.AST) -> _Made | None:
    module, _, short = file.dotted(node).rpartition(".")
    if module in ("torch.nn.functional", "torch") and short in FUNCTIONS:
        return _Made(FUNCTIONS[short], ast.unparse(node), ())
    if f"{module}.{short}" in _FOCAL:
        return _Made("multilabel", ast.unparse(node), ())
    return None


def _partial(file: File, call: ast.Call, depth: int) -> frozenset[_Made] | None:
    if file.dotted(call.func) != "functools.partial" or len(call.args) != 1:
        return None
    inner = _made(file, call.args[0], depth + 1)
    return inner and frozenset(_Made(one.kind, one.name, (call, *one.settings)) for one in inner)


def _named(file: File, node: ast.AST, depth: int) -> frozenset[_Made] | None:
    """Follow a name to functions: ``criterion = F.cross_entropy``."""
    name = key(node)
    if not name or not _SPEAKS.search(name.rpartition(".")[2]):
        return None
    reaching = file.values.bindings.reaching(node)
    found: frozenset[_Made] | None = frozenset()
    for binding in reaching.bindings:
        value = binding.value if binding.how == "whole" else None
        found = _union(found, _made(file, value, depth + 1))
    if reaching.rest == "parameter":
        for there, value in arguments_of(file, reaching.scope, name):
            found = _union(found, _made(there, value, depth + 1))
    return found or None


def _union(one: frozenset[_Made] | None, other: frozenset[_Made] | None) -> frozenset[_Made] | None:
    return None if one is None or other is None else one | other


def last(file: File, node: ast.AST | None) -> tuple[Operation, ...]:
    """Give what may have been done last to a value; of library models with a new head, the head.

    Args:
        file: Where the expression stands.
        node: The expression.
    """
    found: list[Operation] = []
    for one in file.flow.last(node):
        heads = list(_heads(file, one)) if one.kind == "model" else [(one,)]
        if not all(heads):
            return ()
        found += [operation for head in heads for operation in head]
    return tuple(found)


def is_last(file: File, node: ast.AST | None, *kinds: str) -> Operation | None:
    """Give the last operation on a value if it is certainly of one of some kinds.

    Args:
        file: Where the expression stands.
        node: The expression.
        kinds: Of `Operation`.
    """
    found = last(file, node)
    return found[0] if found and all(one.kind in kinds for one in found) else None


def _heads(file: File, model: Operation) -> Iterator[tuple[Operation, ...]]:
    """Give what the heads do that a model of a library was given; of none, the model itself."""
    replaced = False
    for there in {file, model.file}:
        for node in there.tree.each(ast.Assign):
            if any(_is_head_of(there, target, model) for target in node.targets):
                replaced = True
                values = there.values.of(node.value)
                parts = [_of_value(value, 0) for value in values]
                yield tuple(one for part in parts if part for one in part) if all(parts) else ()
    if not replaced:
        yield (model,)


def _is_head_of(file: File, target: ast.expr, model: Operation) -> bool:
    attribute = target.value if isinstance(target, ast.Subscript) else target
    if not (isinstance(attribute, ast.Attribute) and attribute.attr in _HEADS):
        return False
    owner: ast.expr = attribute.value
    while True:
        if any(value.call is model.node for value in file.values.of(owner)):
            return True
        if not isinstance(owner, ast.Attribute):
            return False
        owner = owner.value


def shown(node: ast.AST | None) -> str:
    """Give an expression as messages show it, short.

    Args:
        node: The expression.
    """
    text = " ".join(ast.unparse(node).split()) if node is not None else ""
    return f"`{text}`" if len(text) <= 50 else f"`{text[:47]}...`"


def line_of(file: File, operation: Operation, near: ast.AST) -> str:
    """Give where an operation is, for a message; empty if it is in the line of the finding.

    Args:
        file: The file of the finding.
        operation: The operation.
        near: The node of the finding.
    """
    line = getattr(operation.node, "lineno", 0)
    if operation.file is not file:
        return f" (line {line} of {PurePath(operation.file.path).name})"
    here = range(getattr(near, "lineno", 0), (getattr(near, "end_lineno", None) or 0) + 1)
    return "" if line in here or file.path.endswith(".ipynb") else f" (line {line})"


def fault_at(file: File, loss: LossCall, done: Operation, why: str) -> tuple[ast.AST, str]:
    """Give the place and the sentence of a fault that lies in what was done before a loss.

    It is where that was done, if that is in this file: there it has to be mended.

    Args:
        file: The file of the loss.
        loss: The loss.
        done: What was last done to its input.
        why: What the loss takes, as the end of the sentence.
    """
    where = line_of(file, done, loss.call)
    if done.file is not file or not where:
        text = f"{shown(loss.input)} has been through {done.kind}{where}, but `{loss.name}` {why}."
        return loss.call, text
    line = "" if file.path.endswith(".ipynb") else f" (line {loss.call.lineno})"
    return done.node, f"This {done.kind} comes before `{loss.name}`{line}, which {why}."
