"""Two layers in a row, of which the second takes another size than the first gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._model._file import File
from ..._rule import Found, Rule
from ..._tensors._layers import module_classes
from ..._tensors._sizes import Misfit, State, after, state_of


def check(file: File) -> Iterator[Found]:
    """Look for constant sizes that differ, in `nn.Sequential` and from line to line of `forward`.

    Args:
        file: The file.
    """
    seen: set[ast.AST] = set()
    for call in file.calls("torch.nn.Sequential"):
        parent = file.tree.parent(call)
        if isinstance(parent, ast.Call) and file.dotted(parent.func) == "torch.nn.Sequential":
            continue  # looked at with the one around it
        made = file.made(call, "module")
        if made is not None and made.call is call:
            misfits: list[Misfit] = []
            after(made, State(), misfits)
            yield from _told(file, call, misfits, seen)
    for node in module_classes(file):
        for name in ("forward", "encode", "decode", "features"):
            method = file.methods(node).get(name)
            if method is not None and method[0] is file:
                for call in file.tree.own_calls(method[1]):
                    yield from _at(file, call, seen)


def _at(file: File, call: ast.Call, seen: set[ast.AST]) -> Iterator[Found]:
    if len(call.args) != 1 or isinstance(call.args[0], ast.Starred):
        return
    values = file.values.of(call.func)
    if len(values) != 1 or values[0].kind != "module" or values[0].definition is not None:
        return
    state = state_of(file, call.args[0])
    if state.kind or state.flat:
        misfits: list[Misfit] = []
        after(values[0], state, misfits)
        yield from _told(file, call, misfits, seen)


def _told(file: File, call: ast.Call, misfits: list[Misfit], seen: set[ast.AST]) -> Iterator[Found]:
    for misfit in misfits:
        layer = misfit.layer
        if layer.call in seen:
            continue
        seen.add(layer.call)
        text, state = ast.unparse(layer.call), misfit.state
        unit = "channels" if state.kind.startswith("channels") else "features"
        if misfit.flatten:
            message = (
                f"`{text}` is given {state.size} channels of size 1 x 1,"
                f" not {misfit.takes} features."
            )
            fix = "Put `nn.Flatten()` before it."
        else:
            given = f"`{state.giver}` before it gives {state.size}"
            message = f"`{text}` takes {misfit.takes} {unit}, but {given}."
            fix = f"Make it {state.size} there, or {misfit.takes} in the layer before."
        node: ast.AST = layer.call if layer.file is file else call
        yield Found(node, message, fix, certain=misfit.certain)


RULE = Rule(
    name="layers-do-not-fit",
    severity="error",
    title="A layer takes another size than the one before it gives",
    why=(
        '`nn.Linear(16, 32)` followed by `nn.Linear(64, 4)` raises "mat1 and mat2 shapes'
        ' cannot be multiplied" with the first batch, after the data are loaded; a convolution'
        " or a batch norm of other channels does so likewise. The output of a bidirectional"
        " LSTM is twice `hidden_size`."
    ),
    fix="Give both layers the same size, best by one name.",
    bad="""\
from torch import nn

def make_model(classes):
    return nn.Sequential(
        nn.Linear(8, 32),
        nn.ReLU(),
        nn.Linear(64, classes),
    )
""",
    good="""\
from torch import nn

def make_model(classes):
    return nn.Sequential(
        nn.Linear(8, 32),
        nn.ReLU(),
        nn.Linear(32, classes),
    )
""",
    source="PyTorch docs, torch.nn.Linear, torch.nn.Conv2d, torch.nn.LSTM (shapes).",
    check=check,
)
