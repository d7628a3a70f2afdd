"""A reshape that gives dimensions other names where they should be swapped."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import owner
from ..._rule import Found, Rule
from ..._tensors._shape_names import Term, terms

_FUNCTIONS = ("torch.reshape", "numpy.reshape")


def check(file: File) -> Iterator[Found]:
    """Look for ``b, c, h, w = x.shape; x.view(b, h, w, c)``: the names in another order.

    Args:
        file: The file.
    """
    for call, on, sizes in _reshapes(file):
        found = terms(file, on, sizes)
        if found is None:
            continue
        order, rank = found
        wrong = _swapped(order) or _rest_moved(order, rank) or _cut_between(order)
        if not wrong:
            continue
        text = ast.unparse(on)
        done = ", ".join(ast.unparse(one) for one in sizes)
        yield Found(
            call,
            f"The dimensions of `{text}` come in another order in `({done})`: reshaping keeps the"
            " order of the elements, so it mixes them.",
            _fix(order, rank, text),
            certain=not _is_square(order),
        )


def _reshapes(file: File) -> Iterator[tuple[ast.Call, ast.expr, list[ast.expr]]]:
    """Give the calls that change a shape, what they change, and the sizes."""
    for call in file.method_calls("view", "reshape"):
        on = owner(call)
        function = file.dotted(call.func) in _FUNCTIONS
        sizes = call.args[1:] if function else call.args
        on = call.args[0] if function and call.args else on
        if len(sizes) == 1 and isinstance(sizes[0], (ast.Tuple, ast.List)):
            sizes = sizes[0].elts
        if on is not None and len(sizes) > 1:
            yield call, on, sizes


def _swapped(order: list[Term]) -> bool:
    """Say whether a later dimension comes before an earlier one."""
    places = [term.index for term in order if term.kind in ("size", "part")]
    return any(one > other for one, other in itertools.pairwise(places))


def _rest_moved(order: list[Term], rank: int | None) -> bool:
    """Say whether -1 stands for dimensions that were at another place."""
    kinds = [term.kind for term in order]
    others = kinds.count("rest") + kinds.count("other")
    if rank is None or others != 1 or "part" in kinds:
        return False
    if "other" in kinds and len(order) >= rank:
        return False
    known = {term.index for term in order}
    missing = [index for index in range(rank) if index not in known]
    place = kinds.index("rest" if "rest" in kinds else "other")
    after = [term.index for term in order[place + 1 :]]
    before = [term.index for term in order[:place]]
    if not missing or not before + after:
        return False
    return any(index > one for index in missing for one in after) or any(
        index < one for index in missing for one in before
    )


def _cut_between(order: list[Term]) -> bool:
    """Say whether another number comes between two whole neighbors: heads before the time."""
    sizes = [place for place, term in enumerate(order) if term.kind == "size"]
    if any(term.kind == "rest" for term in order):
        return False
    for first, second in itertools.pairwise(sizes):
        between = order[first + 1 : second]
        near = order[first].index + 1 == order[second].index
        if near and between and all(term.kind == "other" for term in between):
            whole = {order[first].index, order[second].index}
            parts = [t for t in order if t.kind == "part" and t.index in whole]
            return not parts and any(t.kind != "size" for t in order[second + 1 :])
    return False


def _is_square(order: list[Term]) -> bool:
    """Say whether only a height and a width change places, which matters for no square."""
    out = [
        one.text.lower() + two.text.lower()
        for one, two in itertools.pairwise(order)
        if one.index > two.index >= 0
    ]
    names = ("wh", "hw", "widthheight", "heightwidth")
    return bool(out) and all(one in names for one in out)


def _fix(order: list[Term], rank: int | None, text: str) -> str:
    places = [term.index for term in order]
    if all(term.kind == "size" for term in order) and sorted(places) == list(range(len(places))):
        if rank in (None, len(places)):
            return f"Use `{text}.permute({', '.join(map(str, places))})`."
    return "Reshape in the order of the old shape, then swap with `transpose` or `permute`."


RULE = Rule(
    name="view-for-permute",
    severity="error",
    title="`view` is used where dimensions should be swapped",
    why=(
        "`view` and `reshape` never move an element: they cut the same row of numbers into other"
        " pieces. With `b, c, h, w = x.shape`, `x.view(b, h, w, c)` has the shape that is wanted,"
        " and each pixel holds values of other pixels. Nothing is raised; the model learns slowly"
        " or not at all."
    ),
    fix="Swap dimensions with `permute` or `transpose`; split or merge neighbors with `view`.",
    bad="""\
import torch
from torch import nn

class Head(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.score = nn.Linear(channels, classes)

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.reshape(b, h * w, c)
        return self.score(x).mean(dim=1)
""",
    good="""\
import torch
from torch import nn

class Head(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.score = nn.Linear(channels, classes)

    def forward(self, x):
        b, c, h, w = x.shape
        x = x.permute(0, 2, 3, 1).reshape(b, h * w, c)
        return self.score(x).mean(dim=1)
""",
    source="PyTorch docs, torch.Tensor.view and torch.permute; Hung-yi Lee 2021, PyTorch tutorial.",
    check=check,
)
