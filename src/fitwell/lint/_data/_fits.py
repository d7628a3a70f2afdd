"""What is fitted to data before a model is: scalers, vectorizers, components, over-samplers."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from .._model._roles import Role, role, role_of_name, words_of
from .._model._tree import argument, constant, key, method, owner
from ._sources import sources

if TYPE_CHECKING:
    from .._model._file import File

SCALERS: Final = frozenset(
    {
        "StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "PowerTransformer",
        "QuantileTransformer", "SimpleImputer", "KNNImputer", "IterativeImputer",
        "KBinsDiscretizer", "TfidfVectorizer", "TfidfTransformer", "CountVectorizer",
        "SelectKBest", "SelectPercentile",
    }
)  # fmt: skip
COMPONENTS: Final = frozenset(
    {"PCA", "TruncatedSVD", "IncrementalPCA", "KernelPCA", "FastICA", "NMF"}
)
SAMPLERS: Final = frozenset(
    {
        "SMOTE",
        "ADASYN",
        "RandomOverSampler",
        "BorderlineSMOTE",
        "SVMSMOTE",
        "SMOTEENN",
        "SMOTETomek",
    }
)
_NAMED: Final = frozenset({"scaler", "vectorizer", "imputer", "tfidf", "standardizer"})
_PASSES: Final = frozenset(
    {
        "reshape", "to_numpy", "toarray", "numpy", "astype", "tolist", "copy", "view", "flatten",
        "cpu", "float", "ravel", "squeeze", "drop", "fillna", "detach", "todense", "dropna",
    }
)  # fmt: skip


def fitted(file: File, call: ast.Call) -> str:
    """Give the name of the class that a call of ``fit`` and the like fits to data; or nothing.

    Args:
        file: The file.
        call: Of a method ``fit``, ``fit_transform`` or ``fit_resample``.
    """
    on = owner(call)
    if on is None:
        return ""
    found = sources(file, on)
    names = []
    for one in found.found:
        dotted = one.file.dotted(one.node.func) if isinstance(one.node, ast.Call) else ""
        known = dotted.startswith(("sklearn.", "imblearn."))
        names.append(dotted.rpartition(".")[2] if known else "")
    if names and found.complete:
        return names[0] if len(set(names)) == 1 else ""
    plain = set(words_of(key(on).rpartition(".")[2])) & _NAMED
    return next(iter(sorted(plain)), "")


def base(node: ast.expr) -> ast.expr:
    """Give the array or table that an expression takes a part or another form of.

    Args:
        node: Such as ``X[columns].values.reshape(-1, 1)``.
    """
    while True:
        if isinstance(node, ast.Subscript):
            text = constant(node.slice)
            if isinstance(text, str) and role_of_name(text):
                return node
            node = node.value
        elif isinstance(node, ast.Attribute) and node.attr in ("values", "T", "loc", "iloc"):
            node = node.value
        elif isinstance(node, ast.Call) and method(node) in _PASSES:
            on = owner(node)
            if on is None:
                return node
            node = on
        else:
            return node


def role_of_array(file: File, node: ast.expr | None) -> frozenset[Role]:
    """Give what an array is for, as far as its name tells.

    Args:
        file: The file.
        node: An array, a table, or a part of one.
    """
    if isinstance(node, ast.Subscript) and role_of_name(key(node.slice)):
        return role_of_name(key(node.slice))  # X[train_idx]
    return frozenset() if node is None else role(file, base(node))


def standardized(file: File, node: ast.expr | None) -> ast.expr | None:
    """Give the array of ``(x - x.mean(0)) / x.std(0)``: what is shifted by its own statistics.

    Args:
        file: The file.
        node: The expression.
    """
    if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)):
        return None
    if not (isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Sub)):
        return None
    array, shift = node.left.left, node.left.right
    if isinstance(node.right, ast.Constant) or not isinstance(shift, (ast.Name, ast.Call)):
        return None
    found = sources(file, shift)
    inner = found.only.node if found.only is not None else shift
    if not isinstance(inner, ast.Call):
        return None
    name = method(inner)
    if name not in ("mean", "min", "amin", "nanmean"):
        return None
    on = owner(inner)
    is_function = key(on) in ("np", "numpy", "torch") and bool(inner.args)
    subject = inner.args[0] if is_function else on
    if subject is None or ast.unparse(base(subject)) != ast.unparse(base(array)):
        return None
    axis = argument(inner, "axis", int(is_function)) or argument(inner, "dim", int(is_function))
    return array if _over_examples(axis) else None


def _over_examples(axis: ast.expr | None) -> bool:
    if axis is None:
        return True
    if isinstance(axis, (ast.Tuple, ast.List)):
        return any(constant(one) == 0 for one in axis.elts)
    return constant(axis) == 0
