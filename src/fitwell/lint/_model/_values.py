"""What expressions are: a module, a loss, an optimizer, a loader. Unknown ones have no kind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, final

from ._bindings import Binding, Bindings, given
from ._classes import DATASETS, MODULES
from ._project import Definition
from ._tree import argument, constant, key

if TYPE_CHECKING:
    from ._file import File

Kind = Literal[
    "module", "loss", "optimizer", "scheduler", "loader", "dataset", "transform", "scaler",
    "sampler", "object",
]  # fmt: skip

_SAME: Final = frozenset(
    {
        "to", "cuda", "cpu", "float", "half", "double", "bfloat16", "train", "eval", "apply",
        "requires_grad_", "share_memory", "xpu", "type", "to_empty",
    }
)  # fmt: skip
"""Methods that give the module that they are called on."""
_WRAPPERS: Final = frozenset(
    {
        "torch.nn.DataParallel", "torch.nn.parallel.DistributedDataParallel", "torch.compile",
        "torch.jit.script", "torch.nn.SyncBatchNorm.convert_sync_batchnorm", "copy.deepcopy",
        "tqdm.tqdm", "tqdm.auto.tqdm", "tqdm.notebook.tqdm",
    }
)  # fmt: skip
_NOT_LAYERS: Final = frozenset({"Parameter", "ParameterList", "ParameterDict", "Module"})
_SCHEDULE_FUNCTIONS: Final = "transformers.get_"


@final
@dataclass(frozen=True)
class Value:
    """What an expression is.

    Args:
        kind: What it is used as; `object` is an instance of another class of the project.
        name: Full name of what made it.
        call: Where it was made.
        file: The file of that place.
        definition: Its class, if the project defines it.
    """

    kind: Kind
    name: str
    call: ast.Call
    file: File
    definition: Definition | None = None

    @property
    def short(self) -> str:
        """Name without its module."""
        return self.name.rpartition(".")[2]


@final
class Values:
    """What the expressions of a file are.

    Args:
        file: The file.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self.bindings = Bindings(file.tree)
        self._known: dict[tuple[ast.AST, int | None], frozenset[Value] | None] = {}
        self._open: set[tuple[ast.AST, int | None]] = set()

    def of(self, node: ast.AST | None) -> tuple[Value, ...]:
        """Give all that an expression may be; nothing if one of that is not known.

        Args:
            node: The expression.
        """
        found = self._of(node, None)
        return tuple(sorted(found, key=lambda value: value.call.lineno)) if found else ()

    def is_a(self, node: ast.AST | None, kind: Kind) -> bool:
        """Say whether an expression is certainly of a kind.

        Args:
            node: The expression.
            kind: The kind.
        """
        found = self._of(node, None)
        return bool(found) and all(value.kind == kind for value in found or ())

    def _of(self, node: ast.AST | None, item: int | None) -> frozenset[Value] | None:
        """Give what an expression or an item of it may be; empty where a name leads to itself."""
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
        found = self._look(node, item)
        self._open.discard(place)
        if found is None or project.cycles == before or not self._open:
            self._known[place] = found
        return found

    def forget(self) -> None:
        """Look again at what was asked before: more of the project is known now."""
        self._known.clear()

    def _look(self, node: ast.AST, item: int | None) -> frozenset[Value] | None:
        if isinstance(node, (ast.Tuple, ast.List)) and item is not None:
            return self._of(node.elts[item], None) if item < len(node.elts) else None
        if isinstance(node, ast.Call):
            return self._called(node, item)
        if isinstance(node, (ast.Name, ast.Attribute)):
            return self._named(node, item)
        if isinstance(node, ast.IfExp):
            return _union(self._of(node.body, item), self._of(node.orelse, item))
        if isinstance(node, (ast.Await, ast.NamedExpr)):
            return self._of(node.value, item)
        if isinstance(node, ast.Subscript) and item is None:
            index = constant(node.slice)
            return self._of(node.value, index) if isinstance(index, int) and index >= 0 else None
        if _is_none(node):
            return frozenset()
        return None

    def _named(self, node: ast.Name | ast.Attribute, item: int | None) -> frozenset[Value] | None:
        if not key(node):
            return None
        reaching = self.bindings.reaching(node)
        found: frozenset[Value] | None = frozenset()
        for binding in reaching.bindings:
            found = _union(found, self._bound(binding, item))
        if reaching.rest == "parameter":
            return _union(found, self._parameter(reaching.scope, key(node), item))
        if reaching.rest == "outside":
            return (
                self._attribute(node, item)
                if isinstance(node, ast.Attribute)
                else self._there(node, item)
            )
        return found

    def _bound(self, binding: Binding, item: int | None) -> frozenset[Value] | None:
        if (
            binding.value is None
            or binding.how == "each"
            or (item is not None and binding.index is not None)
        ):
            return None
        return self._of(binding.value, binding.index if item is None else item)

    def _there(self, node: ast.AST, item: int | None) -> frozenset[Value] | None:
        """Follow a name to a value of another file."""
        definition = self._file.find(self._file.dotted(node))
        if definition is None or not isinstance(definition.node, ast.expr):
            return None
        return definition.file.values._of(definition.node, item)

    def _attribute(self, node: ast.Attribute, item: int | None) -> frozenset[Value] | None:
        """Follow ``model.head`` into the class of ``model``, ``self.head`` into a base class."""
        if key(node.value) == "self":
            home = self._file.tree.inside(node, ast.ClassDef)
            owners = [Definition(self._file, home)] if home is not None else []
        else:
            known = self._of(node.value, None) or frozenset()
            owners = [value.definition for value in known if value.definition is not None]
            if not known or len(owners) < len(known):
                return self._there(node, item)
        found: frozenset[Value] | None = frozenset()
        for owner in owners:
            found = _union(found, _of_class(owner, node.attr, item))
        return found or None

    def _parameter(self, function: ast.AST, name: str, item: int | None) -> frozenset[Value] | None:
        """Follow a parameter to what the project's calls give it."""
        found: frozenset[Value] | None = frozenset()
        seen = False
        for file, value in arguments_of(self._file, function, name):
            seen = True
            found = _union(found, None if value is None else file.values._of(value, item))
        return found if seen else None

    def _called(self, call: ast.Call, item: int | None) -> frozenset[Value] | None:
        func = call.func
        if item is not None and isinstance(func, ast.Attribute) and func.attr == "prepare":
            return self._of(call.args[item], None) if item < len(call.args) else None  # accelerate
        name = self._file.dotted(func)
        if name in _WRAPPERS:
            return self._of(argument(call, "module", 0) or argument(call, "model", 0), item)
        if name == "enumerate":
            return None
        kind = _library(name) if item is None else None
        if kind is not None:
            return frozenset({Value(kind, name, call, self._file)})
        definition = self._file.called(call)
        if definition is not None and isinstance(definition.node, ast.ClassDef):
            made = _kind_of_class(definition)
            return (
                frozenset({Value(made, name, call, self._file, definition)})
                if item is None
                else None
            )
        if definition is not None:
            return _returned(definition, item)
        if isinstance(func, ast.Attribute):
            if func.attr in _SAME or (func.attr == "prepare" and len(call.args) == 1):
                return self._of(func.value if func.attr in _SAME else call.args[0], item)
        return None


def arguments_of(
    file: File, function: ast.AST, name: str
) -> Iterator[tuple[File, ast.expr | None]]:
    """Give what the calls in the project give a parameter: None where it is not seen.

    Args:
        file: Where the function is defined.
        function: The function; of ``__init__`` the calls of the class count.
        name: Of the parameter.
    """
    if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return
    parent = file.tree.parent(function)
    in_class = isinstance(parent, ast.ClassDef)
    if in_class and function.args.args[:1] and function.args.args[0].arg == name:
        return  # self
    wanted = parent if in_class and function.name == "__init__" and parent is not None else function
    static = any(key(one) == "staticmethod" for one in function.decorator_list)
    for site in file.sites(wanted):
        found = given(site.call, function, name, bound=in_class and not static)
        yield (file if found.is_default else site.file), found.value


def returns(definition: Definition) -> Iterator[ast.expr | None]:
    """Give the expressions that a function returns; None for a bare ``return``.

    Args:
        definition: The function.
    """
    for node in definition.file.tree.own(definition.node):
        if isinstance(node, ast.Return):
            yield node.value


def _returned(definition: Definition, item: int | None) -> frozenset[Value] | None:
    found: frozenset[Value] | None = frozenset()
    for value in returns(definition):
        found = _union(found, definition.file.values._of(value, item))
    return found or None


def _of_class(owner: Definition, name: str, item: int | None) -> frozenset[Value] | None:
    node = owner.node
    if not isinstance(node, ast.ClassDef):
        return None
    values = owner.file.values
    bindings = values.bindings.everywhere(node, f"self.{name}")
    found: frozenset[Value] | None = frozenset()
    for binding in bindings:
        found = _union(found, values._bound(binding, item))
    if bindings:
        return found
    for base in node.bases:
        definition = owner.file.find(owner.file.dotted(base))
        if definition is not None and definition.node is not node:
            return _of_class(definition, name, item)
    return None


def _kind_of_class(definition: Definition) -> Kind:
    node = definition.node
    if isinstance(node, ast.ClassDef):
        if definition.file.derives(node, MODULES):
            return "loss" if node.name.endswith("Loss") else "module"
        if definition.file.derives(node, DATASETS):
            return "dataset"
    return "object"


def _library(name: str) -> Kind | None:
    """Give the kind of what a function of a library makes."""
    module, _, short = name.rpartition(".")
    upper = short[:1].isupper()
    if module == "torch.nn" and upper:
        if short.endswith("Loss"):
            return "loss"
        return None if short in _NOT_LAYERS else "module"
    if name.startswith(_SCHEDULE_FUNCTIONS) and "schedule" in short:
        return "scheduler"
    if short == "GradScaler" and module.startswith("torch"):
        return "scaler"
    if not upper:
        return (
            "module"
            if module.startswith("torchvision.models") or name == "timm.create_model"
            else None
        )
    if name == "torch.utils.data.DataLoader":
        return "loader"
    if short == "DistributedSampler":
        return "sampler"
    kinds: dict[str, Kind] = {
        "torch.optim.lr_scheduler": "scheduler",
        "torch.optim": "optimizer",
        "torchvision.datasets": "dataset",
        "torchvision.transforms": "transform",
        "torch.utils.data": "dataset",
    }
    if module == "torch.utils.data" and "Sampler" in short:
        return "sampler"
    return kinds.get(module)


def _union(one: frozenset[Value] | None, other: frozenset[Value] | None) -> frozenset[Value] | None:
    return None if one is None or other is None else one | other


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
