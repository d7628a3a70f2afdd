"""Whether the graph of a model's output reaches an expression, or where it was cut."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, final

from .._model._bindings import Binding
from .._model._project import Definition
from .._model._tree import argument, constant, has_stars, key
from .._model._values import Value, arguments_of, returns
from ._gradmode import FACTORIES, gradients_off
from ._trace import DATA, LIVE, UNKNOWN, Cut, Trace, joined

if TYPE_CHECKING:
    from .._model._file import File


_CUTS: Final = frozenset({"item", "detach", "detach_", "numpy", "tolist"})
_COPIES: Final = frozenset(
    {
        "torch.tensor", "torch.Tensor", "torch.FloatTensor", "torch.DoubleTensor",
        "torch.cuda.FloatTensor", "torch.from_numpy", "torch.autograd.Variable",
        "torch.autograd.variable.Variable",
    }
)  # fmt: skip
_NUMBERS: Final = frozenset({"float", "int", "bool"})
_PLAIN: Final = frozenset({"sum", "abs", "max", "min", "round", "pow"})
_STEPS: Final = frozenset({"long", "int", "bool", "nonzero", "one_hot", "multinomial"})
"""Functions and methods that have no derivative: their result has no graph."""
_PLACES: Final = frozenset({"argmax", "argmin", "argsort"})
"""The same; of a loss over these another rule speaks."""
_TORCH: Final = re.compile(r"torch(\.nn\.functional|\.linalg|\.special)?\.[a-z]\w*")
_NO_FUNCTIONS: Final = frozenset(
    {"load", "save", "compile", "vmap", "jit", "hub", "cond", "stack_"}
)
_NAMED: Final = (
    "weight",
    "reduction",
    "label_smoothing",
    "ignore_index",
    "dim",
    "pos_weight",
    "beta",
)
_MODEL: Final = re.compile(r"(^|_)(model|net|network|module|ddp_model)$", re.IGNORECASE)
_LOSS: Final = re.compile(
    r"^(criterion|crit|loss_fn|loss_func|loss_function|lossfn)$", re.IGNORECASE
)
_BATCH: Final = frozenset(
    {"batch", "labels", "label", "targets", "y", "yb", "y_true", "y_batch", "batch_y", "batch_idx"}
)
_RESULTS: Final = frozenset({"shape", "dtype", "device", "ndim"})
_DEPTH: Final = 24
_BUDGET: Final = 600


@final
class Graph:
    """The graphs of a file's expressions.

    Args:
        file: The file.
        depth: How many functions were followed.
    """

    def __init__(self, file: File, depth: int = 0) -> None:
        self._file = file
        self._depth = depth
        self._open: set[ast.AST] = set()
        self._left = _BUDGET

    def of(self, node: ast.AST | None, *, root: bool = False) -> Trace:
        """Give where an expression comes from.

        Args:
            node: The expression.
            root: Whether `backward` is called on just this: then it may be marked with
                ``requires_grad`` again, and has no past all the same.
        """
        self._left -= 1
        if node is None or self._left < 0 or len(self._open) + self._depth > _DEPTH:
            return UNKNOWN
        if node in self._open:
            return DATA  # adds nothing to what else the name may hold
        self._open.add(node)
        try:
            found = self._look(node, root)
        finally:
            self._open.discard(node)
        if found.state == "live" and isinstance(node, (ast.Call, ast.BinOp)):
            off = gradients_off(self._file, node)
            if off is not None:
                return Trace("cut", frozenset({Cut(node, self._file, "no_grad")}))
        return found

    def _look(self, node: ast.AST, root: bool) -> Trace:
        if isinstance(node, (ast.Constant, ast.JoinedStr, ast.Compare)):
            return self._compared(node) if isinstance(node, ast.Compare) else DATA
        if isinstance(node, ast.Call):
            return _Call(self, self._file, node, root).trace()
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._named(node, root)
        if isinstance(node, ast.BinOp):
            return self.all([node.left, node.right])
        if isinstance(node, ast.IfExp):
            return self.all([node.body, node.orelse])
        if isinstance(node, (ast.Tuple, ast.List)) and node.elts:
            return self.all(node.elts)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return self.of(node.elt)
        if isinstance(node, ast.UnaryOp):
            return self.of(node.operand)
        if isinstance(node, (ast.NamedExpr, ast.Await, ast.Starred)):
            return self.of(node.value, root=root)
        if isinstance(node, ast.Subscript):
            is_place = constant(node.slice) == 1 and self._is_max(node.value)
            return UNKNOWN if is_place else self.of(node.value)
        return UNKNOWN

    def all(self, nodes: Iterable[ast.AST]) -> Trace:
        """Give what an expression is that is made of others.

        Args:
            nodes: The parts.
        """
        return joined(self.of(node) for node in nodes)

    def cut(self, inner: Trace, node: ast.AST, how: str) -> Trace:
        """Give what is left of an expression without its graph.

        Args:
            inner: Of the expression.
            node: Where it loses the graph.
            how: By what.
        """
        if inner.state == "live":
            return Trace("cut", frozenset({Cut(node, self._file, how)}))
        return inner if inner.state == "cut" else DATA

    def _compared(self, node: ast.Compare) -> Trace:
        return self.cut(self.all([node.left, *node.comparators]), node, "comparison")

    def _is_max(self, node: ast.AST) -> bool:
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            return False
        of_torch = self._file.dotted(node.func.value) == "torch"
        place = 1 if of_torch else 0
        return node.func.attr in ("max", "min", "topk", "sort") and (
            argument(node, "dim", place) is not None
        )

    def _named(self, node: ast.Name | ast.Attribute, root: bool) -> Trace:
        if isinstance(node, ast.Attribute):
            if node.attr == "data":
                inner = self.of(node.value)
                known = inner.state in ("live", "cut")
                return self.cut(inner, node, "data") if known else UNKNOWN
            if node.attr in _RESULTS:
                return DATA
            if node.attr == "grad" or not key(node):
                return UNKNOWN if node.attr == "grad" else self.of(node.value)
        reaching = self._file.values.bindings.reaching(node)
        if reaching.rest == "outside":
            is_part = isinstance(node, ast.Attribute) and key(node.value) not in ("self", "cls")
            return self.of(node.value) if isinstance(node, ast.Attribute) and is_part else UNKNOWN
        if self._is_changed(key(node), reaching.scope, root):
            return UNKNOWN
        parts = [self._bound(binding, root) for binding in reaching.bindings]
        if reaching.rest == "parameter":
            parts += self._given(reaching.scope, key(node))
        return joined(parts) if parts else UNKNOWN

    def _given(self, function: ast.AST, name: str) -> list[Trace]:
        if self._depth > 3:
            return [UNKNOWN]
        found = [
            Graph(file, self._depth + 1).of(value)
            for file, value in arguments_of(self._file, function, name)
        ]
        return found or [DATA if name in _BATCH else UNKNOWN]

    def _bound(self, binding: Binding, root: bool) -> Trace:
        statement = binding.statement
        if isinstance(statement, ast.AugAssign):
            return self.of(statement.value)
        if binding.how == "each":
            known = any(loop.node is statement for loop in self._file.loops)
            of_loader = isinstance(statement, ast.comprehension) and self._file.values.is_a(
                statement.iter, "loader"
            )
            return DATA if known or of_loader else UNKNOWN
        if binding.how == "item":
            if binding.index == 1 and binding.value and self._is_max(binding.value):
                return UNKNOWN
            return self.item(binding.value, binding.index)
        return self.of(binding.value, root=root)

    def item(self, node: ast.AST | None, index: int | None) -> Trace:
        """Give where one of several values comes from.

        Args:
            node: The expression of all.
            index: Which one.
        """
        if isinstance(node, ast.Call):
            definition = self._file.called(node)
            if definition is not None and not isinstance(definition.node, ast.ClassDef):
                return self.returned(definition, index)
        return self.of(node)

    def returned(self, definition: Definition, index: int | None = None) -> Trace:
        """Give where the result of a function of the project comes from.

        Args:
            definition: The function.
            index: Which of several values; None for all.
        """
        if self._depth > 3:
            return UNKNOWN
        inner = Graph(definition.file, self._depth + 1)
        parts = []
        for value in returns(definition):
            if isinstance(value, ast.Tuple) and index is not None and index < len(value.elts):
                parts.append(inner.of(value.elts[index]))
            else:
                parts.append(inner.of(value))
        return joined(parts) if parts else UNKNOWN

    def _is_changed(self, name: str, scope: ast.AST, root: bool) -> bool:
        """Say whether something is done to a name that may give it a graph, or make it a leaf."""
        for use in self._file.uses(name):
            parent = self._file.tree.parent(use)
            if isinstance(parent, ast.Subscript) and isinstance(parent.ctx, ast.Store):
                return True
            if not isinstance(parent, ast.Attribute) or parent.value is not use:
                continue
            attr = parent.attr
            if attr in ("requires_grad", "requires_grad_") and not root:
                return True
            inplace = attr.endswith("_") and not attr.endswith("__")
            if inplace and attr not in ("requires_grad_", "detach_"):
                return True
            if attr in ("append", "extend", "update", "insert", "retain_grad", "register_hook"):
                return True
            if attr == "grad":
                return True  # its own gradient is used: it was cut on purpose
        return False


@final
class _Call:
    """What a call makes of the graphs of its arguments."""

    def __init__(self, graph: Graph, file: File, call: ast.Call, root: bool) -> None:
        self.graph, self.file, self.call, self.root = graph, file, call, root
        self.name = file.dotted(call.func)

    def trace(self) -> Trace:
        call, name = self.call, self.name
        if name in _COPIES:
            return self._copied()
        if name in _NUMBERS and call.args:
            return self.graph.cut(self.graph.of(call.args[0]), call, f"{name}()")
        if name == "len":
            return DATA
        if name.startswith("torch.autograd.") or has_stars(call):
            return self._of_function()
        if _TORCH.fullmatch(name):
            return self._of_torch(name.rpartition(".")[2])
        if name in _PLAIN and call.args:
            return self.graph.all(call.args)
        return self._of_function()

    def _copied(self) -> Trace:
        call = self.call
        inner = self.graph.of(call.args[0]) if call.args else UNKNOWN
        found = self.graph.cut(inner, call, self.name.removeprefix("torch.autograd."))
        if constant(argument(call, "requires_grad")) is True and not self.root:
            return UNKNOWN if found.state == "data" or self._is_split() else found
        return found

    def _is_split(self) -> bool:
        """Say whether gradients are taken in parts: then a cut with a new leaf is meant."""
        names = ("grad", "grads")
        return any(node.attr in names for node in self.file.tree.each(ast.Attribute))

    def _of_torch(self, short: str) -> Trace:
        call = self.call
        if short in FACTORIES:
            return DATA if argument(call, "requires_grad") is None else UNKNOWN
        if short in _NO_FUNCTIONS | _PLACES or not call.args + call.keywords:
            return UNKNOWN
        named = [one.value for one in call.keywords if one.arg not in _NAMED]
        found = self.graph.all([*call.args, *named])
        if short in _STEPS:
            return self.graph.cut(found, call, short)
        return LIVE if found.state == "unknown" and self._is_loss_function(short) else found

    def _is_loss_function(self, short: str) -> bool:
        is_loss = "cross_entropy" in short or short.endswith("_loss") or short == "kl_div"
        return is_loss and self.name.startswith("torch.nn.functional.")

    def _of_function(self) -> Trace:
        func = self.call.func
        values = self.file.values.of(func)
        if values:
            return joined(self._of_value(value) for value in values)
        if key(func) == "self":
            home = self.file.tree.inside(self.call, ast.ClassDef)
            forward = self.file.methods(home).get("forward") if home is not None else None
            return self.graph.returned(Definition(*forward)) if forward else UNKNOWN
        definition = self.file.called(self.call)
        if definition is not None:
            is_class = isinstance(definition.node, ast.ClassDef)
            return UNKNOWN if is_class else self.graph.returned(definition)
        word = key(func).rpartition(".")[2]
        if _MODEL.search(word):
            return LIVE
        if _LOSS.search(word):
            return self._of_loss(certain=False)
        return self._of_method(func) if isinstance(func, ast.Attribute) else UNKNOWN

    def _of_value(self, value: Value) -> Trace:
        owner = value.definition
        if value.kind == "loss":
            if owner is not None and _has_parameters(owner):
                return LIVE
            return self._of_loss(certain=True)
        if value.kind != "module":
            return UNKNOWN
        if owner is not None and isinstance(owner.node, ast.ClassDef):
            forward = owner.file.methods(owner.node).get("forward")
            if forward is None or "enable_grad" in owner.file.text:
                return LIVE
            found = self.graph.returned(Definition(*forward))
            return found if found.state == "cut" else LIVE
        return LIVE

    def _of_loss(self, *, certain: bool) -> Trace:
        found = self.graph.all(self.call.args) if not has_stars(self.call) else UNKNOWN
        if found.state == "cut":
            cuts = (Cut(c.node, c.file, c.how, c.certain and certain) for c in found.cuts)
            return Trace("cut", frozenset(cuts))
        return DATA if found.state == "data" else LIVE

    def _of_method(self, func: ast.Attribute) -> Trace:
        name = func.attr
        inner = self.graph.of(func.value, root=self.root and name == "requires_grad_")
        if name in _CUTS:
            return self.graph.cut(inner, self.call, name)
        if name in ("requires_grad_", "retain_grad"):
            return inner if self.root else UNKNOWN
        if inner.state == "unknown" or name in _PLACES:
            return UNKNOWN
        named = [one.value for one in self.call.keywords if one.arg not in _NAMED]
        whole = inner
        if not has_stars(self.call) and name not in ("to", "type", "view", "reshape", "permute"):
            tensors = joined(self.graph.of(one) for one in [*self.call.args, *named])
            whole = joined([inner, tensors]) if self.call.args or named else inner
        return self.graph.cut(whole, self.call, name) if name in _STEPS else whole


def _has_parameters(owner: Definition) -> bool:
    text = owner.file.text_of(owner.node)
    return any(
        word in text for word in ("Parameter(", "nn.Linear(", "nn.Embedding(", "Sequential(")
    )
