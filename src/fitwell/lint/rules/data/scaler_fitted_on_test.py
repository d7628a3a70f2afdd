"""A scaler or vectorizer that is fitted again on test data."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._fits import COMPONENTS, SCALERS, fitted, role_of_array, standardized
from ..._model._file import File
from ..._model._roles import held_out, words_of
from ..._model._tree import key, owner
from ..._rule import Edit, Found, Rule, span

_FITS = ("fit", "fit_transform")


def check(file: File) -> Iterator[Found]:
    """Look for ``fit`` and ``fit_transform`` of held-out data.

    Args:
        file: The file.
    """
    calls = [call for call in file.method_calls(*_FITS) if call.args]
    trained = [call for call in calls if role_of_array(file, call.args[0]) == {"train"}]
    for call in calls if trained else ():
        if not held_out(role_of_array(file, call.args[0])):
            continue
        if "dev" in words_of(ast.unparse(call.args[0])):
            continue  # all data but those of the test, perhaps
        name = fitted(file, call)
        if not _is_preprocessor(file, call, name, trained):
            continue
        data = ast.unparse(call.args[0])
        yield Found(
            call,
            f"`{name}` is fitted to `{data}`: these data get a scale of their own.",
            "Call `transform` with what was fitted to the training data.",
            edits=_edits(file, call, trained),
        )
    yield from _by_hand(file)


def _is_preprocessor(file: File, call: ast.Call, name: str, trained: list[ast.Call]) -> bool:
    if name in COMPONENTS:  # for a picture of test data they are fitted to these alone
        same = key(owner(call))
        return bool(same) and any(key(owner(one)) == same for one in trained)
    return name in SCALERS or (bool(name) and name.islower())


def _edits(file: File, call: ast.Call, trained: list[ast.Call]) -> tuple[Edit, ...]:
    """Give `transform` for `fit_transform`, where the same object was fitted before."""
    same = key(owner(call))
    before = any(key(owner(one)) == same and one.lineno < call.lineno for one in trained)
    if not (same and before and isinstance(call.func, ast.Attribute)):
        return ()
    if call.func.attr != "fit_transform" or len(call.args) != 1:
        return ()
    _, end = span(file, call.func)
    return (Edit((end[0], end[1] - len("fit_transform")), end, "transform"),)


def _by_hand(file: File) -> Iterator[Found]:
    """Look for test data that are shifted by their own mean, next to training data that are."""
    found = []
    for node in file.tree.each(ast.BinOp):
        array = standardized(file, node)
        if array is not None:
            found.append((node, array, role_of_array(file, array)))
    if not any(roles == {"train"} for _, _, roles in found):
        return
    for node, array, roles in found:
        text = ast.unparse(array)
        if held_out(roles) and not {"image", "img", "sample"} & set(words_of(text)):
            yield Found(
                node,
                f"`{text}` is scaled by its own mean, not by that of the training data.",
                "Use mean and deviation of the training data for all data.",
            )


RULE = Rule(
    name="scaler-fitted-on-test",
    severity="error",
    title="A scaler or vectorizer is fitted on test data",
    why=(
        "The model learned what the values mean on the scale of the training data. Fitted"
        " again, the same value stands for something else, a word gets another column, and the"
        " score is wrong in either direction. In use, one example at a time, nothing can be"
        " fitted at all."
    ),
    fix="Fit on the training data, and call only `transform` for all others.",
    bad="""\
import torch
from sklearn.preprocessing import StandardScaler

def prepare(X_train, X_test):
    scaler = StandardScaler()
    X_train = scaler.fit_transform(X_train)
    X_test = scaler.fit_transform(X_test)
    return torch.as_tensor(X_train), torch.as_tensor(X_test)
""",
    good="""\
import torch
from sklearn.preprocessing import StandardScaler

def prepare(X_train, X_test):
    scaler = StandardScaler()
    X_train = scaler.fit_transform(X_train)
    X_test = scaler.transform(X_test)
    return torch.as_tensor(X_train), torch.as_tensor(X_test)
""",
    source="scikit-learn user guide, common pitfalls: inconsistent preprocessing.",
    check=check,
)
