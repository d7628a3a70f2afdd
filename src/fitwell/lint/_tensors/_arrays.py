"""Which expressions are certainly tensors or arrays of numpy, and of which dtype."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final, final

from .._model._bindings import Binding
from .._model._loops import unwrapped
from .._model._tree import argument, constant, has_stars, key
from .._model._values import arguments_of, returns
from . import _dtypes as dtypes
from ._array_sources import (
    Array,
    Arrays,
    Library,
    given_by,
    of_data,
    one_of,
    part_of,
    path_to,
    union,
)

if TYPE_CHECKING:
    from .._model._file import File

_PAIRS: Final = frozenset({"max", "min", "sort", "topk", "median", "mode", "kthvalue"})
_LABELS: Final = {"make_regression": "float64"}
_RANDOM: Final = ("numpy.random.default_rng", "numpy.random.RandomState")
_KEEP: Final = frozenset({"data", "T", "mT", "grad", "real"})
_PRESENT: Final = (ast.Is, ast.IsNot, ast.In, ast.NotIn)


@final
class Tensors:
    """The tensors and arrays of a file.

    Args:
        file: The file.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self._known: dict[tuple[ast.AST, int | None], Arrays] = {}
        self._open: set[tuple[ast.AST, int | None]] = set()
        self._default = "" if "set_default_" in file.text else "float32"

    def of(self, node: ast.AST | None) -> Array | None:
        """Give what an expression is if it is certainly a tensor or an array.

        Args:
            node: The expression.
        """
        found = self.all(node)
        libraries = {one.library for one in found or ()}
        kinds = {one.dtype for one in found or ()}
        if len(libraries) != 1:
            return None
        return Array(libraries.pop(), kinds.pop() if len(kinds) == 1 else "")

    def is_tensor(self, node: ast.AST | None) -> bool:
        """Say whether an expression is certainly a tensor.

        Args:
            node: The expression.
        """
        found = self.of(node)
        return found is not None and found.library == "torch"

    def all(self, node: ast.AST | None, item: int | None = None) -> Arrays:
        """Give all that an expression may be; None if one of that is not known.

        Args:
            node: The expression.
            item: Which item of it is meant, if not all of it.
        """
        if node is None:
            return None
        place = (node, item)
        if place in self._known:
            return self._known[place]
        project = self._file.project
        if place in self._open:
            project.cycles += 1
            return frozenset()
        before = project.cycles
        self._open.add(place)
        found = self._look(node) if item is None else self._item(node, item)
        self._open.discard(place)
        if found is None or project.cycles == before or not self._open:
            self._known[place] = found
        return found

    def _look(self, node: ast.AST) -> Arrays:
        if isinstance(node, ast.Call):
            return self._called(node)
        if isinstance(node, ast.Attribute) and node.attr in _KEEP:
            return self.all(node.value)
        if isinstance(node, (ast.Name, ast.Attribute)) and key(node):
            return self._named(node)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node)
        if isinstance(node, ast.Compare) and not isinstance(node.ops[0], _PRESENT):
            known = self.of(node.left) or self.of(node.comparators[0])
            return one_of(known.library, "bool") if known else None
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.Not):
            return self.all(node.operand)
        if isinstance(node, ast.Subscript):
            return self.all(node.value)
        if isinstance(node, ast.IfExp):
            return union([self.all(node.body), self.all(node.orelse)])
        return None

    def _arithmetic(self, node: ast.BinOp) -> Arrays:
        left, right = self.of(node.left), self.of(node.right)
        divides = isinstance(node.op, (ast.Div, ast.Pow))
        if left is not None and right is not None:
            if left.library != right.library:
                return None
            same = left.dtype == right.dtype
            same = same and (dtypes.is_floating(left.dtype) or not divides)
            return one_of(left.library, left.dtype if same else "")
        known = left or right
        if known is None:
            return None
        number = constant(node.right if left is not None else node.left)
        if known.library == "numpy" and not isinstance(number, (int, float)):
            return None
        floating = dtypes.is_floating(known.dtype)
        same = isinstance(number, (int, float)) if floating else isinstance(number, int)
        return one_of(known.library, known.dtype if same and (floating or not divides) else "")

    def _named(self, node: ast.Name | ast.Attribute) -> Arrays:
        reaching = self._file.values.bindings.reaching(node)
        found = [self._bound(binding, key(node)) for binding in reaching.bindings]
        if reaching.rest == "parameter":
            found.append(self._parameter(reaching.scope, key(node)))
        if reaching.rest == "outside" and not reaching.bindings:
            definition = self._file.find(self._file.dotted(node))
            if definition is None or not isinstance(definition.node, ast.expr):
                return None
            return definition.file.arrays.all(definition.node)
        return union(found)

    def _bound(self, binding: Binding, name: str) -> Arrays:
        statement = binding.statement
        if isinstance(statement, ast.AugAssign):
            return self.all(statement.target)
        if isinstance(statement, (ast.For, ast.AsyncFor)):
            return self._batch(statement, name)
        if binding.how == "whole":
            return self.all(binding.value)
        return self.all(binding.value, binding.index) if binding.how == "item" else None

    def _batch(self, loop: ast.For | ast.AsyncFor, name: str) -> Arrays:
        """Give what a loop takes from a loader of the project's own data."""
        path = path_to(loop.target, name)
        source = unwrapped(self._file, loop.iter)
        if isinstance(loop.iter, ast.Call) and "enumerate(" in ast.unparse(loop.iter):
            path = path[1:] if path and path[0] == 1 else None
        loader = self._file.made(source, "loader")
        if loader is None or path is None or argument(loader.call, "collate_fn") is not None:
            return None
        return of_data(loader.file, argument(loader.call, "dataset", 0), path)

    def _parameter(self, function: ast.AST, name: str) -> Arrays:
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return None
        arguments = function.args
        for one in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            if one.arg == name and one.annotation is not None:
                kind = self._file.dotted(one.annotation)
                if kind in ("torch.Tensor", "numpy.ndarray"):
                    return one_of("torch" if kind == "torch.Tensor" else "numpy", "")
        given = list(arguments_of(self._file, function, name))
        if given:
            return union(file.arrays.all(value) for file, value in given)
        return one_of("torch", "") if self._fed(function, name) else None

    def _fed(self, function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> bool:
        """Say whether a parameter of ``forward`` is used as only a tensor is."""
        home = self._file.tree.parent(function)
        if function.name != "forward" or home not in self._file.modules:
            return False
        for call in self._file.tree.own_calls(function):
            func = call.func
            if isinstance(func, ast.Attribute) and key(func.value) == name:
                if func.attr in ("size", "view") or func.attr in dtypes.ONLY_TORCH:
                    return True
            if call.args and key(call.args[0]) == name:
                layers = self._file.values.of(func)
                if layers and all(layer.name.startswith("torch.nn.") for layer in layers):
                    return True
        return False

    def _called(self, call: ast.Call) -> Arrays:
        name = self._file.dotted(call.func)
        if name.startswith(("torch.", "numpy.")):
            return self._of_library(name, call)
        values = self._file.values.of(call.func)
        if values:
            return union(given_by(value) for value in values)
        definition = self._file.called(call)
        if definition is not None:
            if isinstance(definition.node, ast.ClassDef):
                return None
            return union(definition.file.arrays.all(one) for one in returns(definition))
        return self._method(call) if isinstance(call.func, ast.Attribute) else None

    def _of_library(self, name: str, call: ast.Call) -> Arrays:
        numpy = name.startswith("numpy.")
        library: Library = "numpy" if numpy else "torch"
        short = name.partition(".")[2]
        asked = dtypes.given_dtype(self._file, call, numpy=numpy)
        first = call.args[0] if call.args else None
        inner = self.of(first)
        if name in ("torch.tensor", "torch.as_tensor", "numpy.array", "numpy.asarray"):
            own = inner.dtype if inner is not None else dtypes.literal(first, numpy=numpy)
            if own == "float32" and not numpy and inner is None:
                own = self._default
            return one_of(library, own if asked is None else asked)
        if name == "torch.from_numpy":
            return one_of("torch", inner.dtype if inner is not None else "")
        if not numpy and short in dtypes.CONSTRUCTORS:
            return one_of("torch", dtypes.CONSTRUCTORS[short])
        makes = dtypes.NUMPY_MAKES if numpy else dtypes.TORCH_MAKES
        if short in makes:
            own = makes[short] if numpy or makes[short] != "float32" else self._default
            return one_of(library, own if asked is None else asked)
        if short == "arange":
            own = "int64" if {type(constant(one)) for one in call.args} == {int} else ""
            return one_of(library, own if asked is None else asked)
        return self._operation(short, call, first, library, asked)

    def _operation(
        self,
        short: str,
        call: ast.Call,
        first: ast.expr | None,
        library: Library,
        asked: str | None,
    ) -> Arrays:
        """Give what a function of torch or numpy makes of its first argument."""
        functional = short.startswith("nn.functional.")
        short = short.removeprefix("nn.functional.")
        if functional and short.endswith(dtypes.SEVERAL):
            return None
        if isinstance(first, (ast.List, ast.Tuple)) and first.elts:
            first = first.elts[0]
        inner = self.of(first)
        own = asked if asked is not None else inner.dtype if inner is not None else ""
        if short in dtypes.INDICES or (functional and short == "one_hot"):
            return one_of(library, "int64")
        if short in dtypes.TRUTHS:
            return one_of(library, "bool")
        if short in dtypes.SAME:
            return one_of(library, "" if short == "where" else own)
        if short in dtypes.FLOATING:
            return one_of(library, own if dtypes.is_floating(own) else "")
        if short == "sum":
            return one_of(library, "int64" if dtypes.is_whole(own) else own)
        return one_of(library, "") if functional or short in dtypes.PRODUCTS else None

    def _method(self, call: ast.Call) -> Arrays:
        func = call.func
        if not isinstance(func, ast.Attribute):
            return None
        short = func.attr
        if short in dtypes.GENERATOR_MAKES and self._is_generator(func.value):
            asked = dtypes.given_dtype(self._file, call, numpy=True)
            return one_of("numpy", dtypes.GENERATOR_MAKES[short] if asked is None else asked)
        if short in ("fit_transform", "transform"):
            scaled = self.of(call.args[0]) if call.args else None
            known = scaled is not None and scaled.library == "numpy"
            return one_of("numpy", scaled.dtype) if known and scaled is not None else None
        inner = self.of(func.value)
        if inner is None and (short in dtypes.ONLY_TORCH or _by_dim(short, call)):
            inner = Array("torch")
        if inner is None:
            return None
        if short == "numpy":
            return one_of("numpy", inner.dtype)
        if short in ("to", "astype", "type"):
            return one_of(inner.library, self._cast(short, call, inner))
        if short in dtypes.NAMES and inner.library == "torch":
            return one_of("torch", dtypes.NAMES[short])
        if short in _PAIRS and not call.args and not call.keywords:
            return one_of(inner.library, inner.dtype)
        return self._operation(short, call, func.value, inner.library, None)

    def _cast(self, short: str, call: ast.Call, inner: Array) -> str:
        """Give the dtype after ``to``, ``astype`` or ``type``."""
        numpy = short == "astype"
        asked = [dtypes.dtype_of(self._file, one, numpy=numpy) for one in call.args]
        asked.append(dtypes.given_dtype(self._file, call, numpy=numpy) or "")
        for one in asked:
            if one:
                return one
        places = all(_is_place(one) for one in call.args) and argument(call, "dtype") is None
        return inner.dtype if short == "to" and places and not has_stars(call) else ""

    def _is_generator(self, node: ast.expr) -> bool:
        bindings = self._file.values.bindings.reaching(node).bindings if key(node) else ()
        value = bindings[0].value if len(bindings) == 1 else None
        return isinstance(value, ast.Call) and self._file.dotted(value.func) in _RANDOM

    def _item(self, node: ast.AST, item: int) -> Arrays:
        """Give one of several values that a call gives."""
        if not isinstance(node, ast.Call):
            return None
        name = self._file.dotted(node.func)
        short = name.rpartition(".")[2]
        if name.startswith("torch.") and short in _PAIRS and node.args:
            first = self.of(node.args[0])
            return one_of("torch", "int64" if item == 1 else first.dtype if first else "")
        if name == "sklearn.model_selection.train_test_split":
            return self.all(node.args[item // 2]) if item // 2 < len(node.args) else None
        if name.startswith("sklearn.datasets.make_"):
            return one_of("numpy", "float64" if item == 0 else _LABELS.get(short, "int64"))
        if name.startswith("sklearn.datasets.load_") and argument(node, "return_X_y") is not None:
            return one_of("numpy", "float64" if item == 0 else "")
        values = self._file.values.of(node.func)
        if values:
            recurrent = all(value.short in ("LSTM", "GRU", "RNN") for value in values)
            return one_of("torch", "") if recurrent and item == 0 else None
        definition = self._file.called(node)
        if definition is not None and not isinstance(definition.node, ast.ClassDef):
            parts = [part_of(one, item) for one in returns(definition)]
            return union(definition.file.arrays.all(part) for part in parts)
        return self._item_of_method(node, item)

    def _item_of_method(self, call: ast.Call, item: int) -> Arrays:
        func = call.func
        if not isinstance(func, ast.Attribute):
            return None
        if func.attr in ("chunk", "split", "unbind"):
            return self.all(func.value)
        if func.attr in _PAIRS and (call.args or argument(call, "dim") is not None):
            inner = self.of(func.value)
            if inner is not None and inner.library == "torch":
                return one_of("torch", "int64" if item == 1 else inner.dtype)
        return None


def _by_dim(short: str, call: ast.Call) -> bool:
    return short in ("argmax", "sum", "mean", "argmin") and argument(call, "dim") is not None


def _is_place(node: ast.expr) -> bool:
    """Say whether an argument of ``to`` is certainly a device."""
    text = constant(node)
    name = key(node).rpartition(".")[2].lower()
    return isinstance(text, (str, bool)) or "device" in name or name in ("dev", "cuda", "gpu")
