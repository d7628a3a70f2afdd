"""A scaler, a selection or an over-sampler that sees the test data before they are split off."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

from ..._data._fits import (
    COMPONENTS,
    SAMPLERS,
    SCALERS,
    base,
    fitted,
    role_of_array,
    standardized,
)
from ..._data._sources import sources
from ..._model._file import File
from ..._model._roles import held_out, role_of_name
from ..._model._tree import key, method, owner
from ..._rule import Found, Rule

_SPLITS = {
    "sklearn.model_selection.train_test_split": None,
    "torch.utils.data.random_split": 1,
    "sklearn.model_selection.cross_val_score": 2,
    "sklearn.model_selection.cross_validate": 2,
}
"""Functions that split, and up to where their arguments are data."""
_FITS = ("fit", "fit_transform", "fit_resample")
_WORDS = ("split", "cross_val", "test")
Fit = tuple[ast.AST, str]


def check(file: File) -> Iterator[Found]:
    """Look for values that were fitted to all data and are split later, in the same function.

    Args:
        file: The file.
    """
    if not any(word in file.text for word in _WORDS):
        return
    scopes: dict[ast.AST, None] = {}
    for call in file.method_calls(*_FITS):
        if file.names.knows("sklearn") or file.names.knows("imblearn"):
            scopes[file.tree.scope(call)] = None
    for ratio in file.tree.each(ast.BinOp):
        if standardized(file, ratio) is not None:
            scopes[file.tree.scope(ratio)] = None
    for scope in scopes:
        for node, name in _Reader(file, scope).read().items():
            yield Found(
                node,
                f"{name} sees all data before they are split: it knows the test data.",
                "Split first, fit on the training part, and only transform the others.",
            )


@final
@dataclass
class _Reader:
    """Reads a function from top to bottom, and keeps what holds something of all data."""

    file: File
    scope: ast.AST
    tainted: dict[str, Fit] = field(default_factory=dict)
    fitted: dict[str, tuple[Fit, str]] = field(default_factory=dict)
    found: dict[ast.AST, str] = field(default_factory=dict)

    def read(self) -> dict[ast.AST, str]:
        """Give the places that fit too early, with what is fitted there."""
        for node in self.file.tree.own(self.scope):
            if isinstance(node, ast.Assign):
                self._assign(node)
            elif isinstance(node, ast.Call):
                self._call(node)
        return self.found

    def _assign(self, node: ast.Assign) -> None:
        targets = [target for one in node.targets for target in _targets(one)]
        if isinstance(node.value, ast.Call) and self._data_of(node.value):
            return
        fit = self._fit_in(node.value)
        if any(held_out(role_of_name(name)) for name in targets):
            if isinstance(node.value, (ast.Subscript, ast.Tuple)) and fit is not None:
                self.found[fit[0]] = fit[1]
            return
        for name in targets:
            if fit is not None:
                self.tainted[name] = fit
            elif isinstance(node.targets[0], ast.Name):
                self.tainted.pop(name, None)

    def _fit_in(self, value: ast.expr) -> Fit | None:
        """Give what of all data an expression holds."""
        array = standardized(self.file, value)
        if array is not None and not role_of_array(self.file, array):
            return value, "The mean of all examples"
        for node in ast.walk(value):
            if isinstance(node, ast.Call) and method(node) in _FITS and node.args:
                fit = self._early(node)
                if fit is not None:
                    return fit
            if isinstance(node, ast.Call) and method(node) == "transform":
                known = self.fitted.get(key(owner(node)))
                if known is not None and node.args:
                    if ast.unparse(base(node.args[0])) == known[1]:
                        return known[0]
            if isinstance(node, ast.Name) and node.id in self.tainted:
                return self.tainted[node.id]
        return None

    def _early(self, call: ast.Call) -> Fit | None:
        """Give what a call fits, if that is to data that are not only those for training."""
        if role_of_array(self.file, call.args[0]) or method(call) == "fit":
            return None
        name = fitted(self.file, call)
        known = name in SCALERS or name in COMPONENTS or name in SAMPLERS
        return (call, f"`{name}`") if known else None

    def _call(self, call: ast.Call) -> None:
        if method(call) == "fit" and call.args:
            name, holder = fitted(self.file, call), key(owner(call))
            parent = self.file.tree.parent(call)
            if isinstance(parent, ast.Assign) and not holder:  # scaler = StandardScaler().fit(X)
                holder = key(parent.targets[0])
            known = name in SCALERS or name in COMPONENTS
            if known and holder and not role_of_array(self.file, call.args[0]):
                text = ast.unparse(base(call.args[0]))
                self.fitted[holder] = ((call, f"`{name}`"), text)
        for data in self._data_of(call):
            fit = self._fit_in(data)
            if fit is not None:
                self.found[fit[0]] = fit[1]
            for holder, (early, text) in self.fitted.items():
                if ast.unparse(base(data)) == text and self._transforms(holder):
                    self.found[early[0]] = early[1]

    def _transforms(self, holder: str) -> bool:
        """Say whether what was fitted is used on the data at all."""
        calls = self.file.method_calls("transform")
        return any(key(owner(call)) == holder for call in calls)

    def _data_of(self, call: ast.Call) -> list[ast.expr]:
        """Give the data that a call splits."""
        name = self.file.dotted(call.func)
        if name in _SPLITS:
            return call.args[: _SPLITS[name]]
        if method(call) == "split" and call.args:
            maker = sources(self.file, owner(call)).only
            if maker is not None and isinstance(maker.node, ast.Call):
                if maker.file.dotted(maker.node.func).startswith("sklearn.model_selection."):
                    return call.args[:1]
        return []


def _targets(target: ast.expr) -> Iterator[str]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for one in target.elts:
            yield from _targets(one)
    elif key(base(target)):
        yield key(base(target))


RULE = Rule(
    name="fitted-before-split",
    severity="warning",
    title="A scaler, a selection or an over-sampler sees all data before the split",
    why=(
        "Mean, words, components or chosen columns then depend on the test data, and copies"
        " that an over-sampler makes land on both sides of the split. The score is too good: by"
        " little for a scaler, by very much for a selection of columns or for copies."
    ),
    fix="Split first; fit on the training part alone, or put the steps into a Pipeline.",
    bad="""\
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

def load(X, y):
    scaler = StandardScaler()
    X = scaler.fit_transform(X)
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    return torch.as_tensor(X_train), torch.as_tensor(X_test), y_train, y_test
""",
    good="""\
import torch
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

def load(X, y):
    scaler = StandardScaler()
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
    X_train, X_test = scaler.fit_transform(X_train), scaler.transform(X_test)
    return torch.as_tensor(X_train), torch.as_tensor(X_test), y_train, y_test
""",
    source="scikit-learn user guide, common pitfalls: data leakage during pre-processing.",
    check=check,
)
