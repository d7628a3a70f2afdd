"""Mistakes in the code of a module, or of what is passed to one."""

from __future__ import annotations

import difflib
import re

from torch import nn

from ._call import call_problem
from ._explanation import Explanation, Rule
from ._scene import Scene


def _not_a_tensor(match: re.Match[str], scene: Scene) -> Explanation | None:
    kind = match[1].rpartition(".")[2]
    if kind == "tuple":
        fix = "A recurrent layer gives (output, state): take the first, output, _ = lstm(x)."
    elif kind == "ndarray":
        fix = "Use torch.from_numpy(x).float()."
    elif kind in ("list", "int", "float"):
        fix = "Use torch.tensor(x, dtype=torch.float32)."
    elif kind == "NoneType":
        fix = "A function before it returned nothing: look for a missing `return`."
    else:
        fix = "Pass a tensor."
    return scene.tell("not-a-tensor", f"its input must be a tensor, not a {kind}", fix)


def _tuple_method(match: re.Match[str], scene: Scene) -> Explanation | None:
    return _not_a_tensor(match, scene) if isinstance(scene.layer, nn.Module) else None


def _no_init(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "a module was given layers before it was set up"
    return scene.tell("module-code", cause, "Call super().__init__() first in __init__.")


def _no_forward(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = f"the module {match[1]} has no method named forward"
    return scene.tell("module-code", cause, "Define forward(self, x), indented in the class.")


def _nothing_to_train(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "the optimizer was given no parameters"
    fix = (
        "Layers in a plain list are not found: use nn.ModuleList; a generator such as"
        " model.parameters() can be used only once."
    )
    return scene.tell("module-code", cause, fix)


def _not_collated(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = f"the examples of a data set must be tensors, arrays or numbers, not {match[1]}"
    fix = "Look at what __getitem__ returns for each index, or give a `collate_fn`."
    return scene.tell("not-a-tensor", cause, fix)


def _no_attribute(match: re.Match[str], scene: Scene) -> Explanation | None:
    layer, name = scene.layer, match[2]
    if layer is None or type(layer).__name__ != match[1]:
        return None
    known = [*layer._modules, *layer._parameters, *layer._buffers]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"nearest: {', '.join(near)}" if near else f"it has: {', '.join(known[:8]) or 'none'}"
    fix = f"Set self.{name} in __init__, or correct the name; {hint}."
    return scene.tell("module-code", f"the module has no layer named {name!r}", fix)


def _wrong_call(match: re.Match[str], scene: Scene) -> Explanation | None:
    found = scene.users_call()
    if found is None:
        return None
    step, call = found
    function = step.value_of(call.func)
    if function is None or any(keyword.arg is None for keyword in call.keywords):
        return None
    if any(type(argument).__name__ == "Starred" for argument in call.args):
        return None
    keywords = [keyword.arg for keyword in call.keywords if keyword.arg is not None]
    problem = call_problem(function, len(call.args), keywords)
    return None if problem is None else scene.tell("call", problem.cause, problem.fix)


RULES: tuple[Rule, ...] = (
    (r"argument '\w+' \(position \d+\) must be Tensor, not ([\w.]+)", _not_a_tensor),
    (r"'(tuple|NoneType)' object has no attribute '\w+'", _tuple_method),
    (r"invalid combination of arguments - got \((tuple|list|numpy\.ndarray)\b", _not_a_tensor),
    (r"before Module\.__init__\(\) call", _no_init),
    (r"Module \[(\w+)\] is missing the required \"forward\" function", _no_forward),
    (r"'(\w+)' object has no attribute '(\w+)'", _no_attribute),
    (r"optimizer got an empty parameter list", _nothing_to_train),
    (r"default_collate: batch must contain .* found <class '([\w.]+)'>", _not_collated),
    (r"positional arguments?|unexpected keyword argument|invalid combination of arg", _wrong_call),
)
