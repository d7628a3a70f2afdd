"""A model on one device and its batch on another."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..._data._origins import is_model_call
from ..._model._file import File
from ..._model._loops import Loop
from ..._model._tree import argument, key, method
from ..._model._values import Value
from ..._rule import Found, Rule
from ..._tensors._placements import is_managed, moved_models, moves
from ..._tensors._tensor_batches import batch_of, is_batch_tensor

_MAKERS = ("zeros", "ones", "rand", "randn", "arange", "eye", "empty", "full", "linspace")
_PASSIVE = (
    "torch.optim.",
    "torch.nn.utils.",
    "torch.save",
    "print",
    "sum",
    "len",
    "isinstance",
    "id",
)


def check(file: File) -> Iterator[Found]:
    """Look for loops that move the batch and not the model, or the model and not the batch.

    Args:
        file: The file.
    """
    near = file.project.near(file)
    if any(is_managed(one) for one in near) or not any(list(moves(one)) for one in near):
        return
    moved = moved_models(near)
    for loop in file.loops:
        yield from _in_loop(file, loop, moved)
        yield from _labels(file, loop)
    yield from _made_beside(file, moved)
    for node in file.modules:
        yield from _in_forward(file, node, moved)


def _in_loop(file: File, loop: Loop, moved: dict[ast.Call, Value]) -> Iterator[Found]:
    for call in file.tree.own_calls(loop.node):
        given = call.args[0] if len(call.args) == 1 else None
        inner = _unmoved(given)
        if given is None or inner is None or not is_batch_tensor(file, inner):
            continue
        models = [value for value in file.values.of(call.func) if value.kind == "module"]
        if not models or batch_of(file, inner) is not loop or _moves_itself(models):
            continue
        text, func = ast.unparse(inner), ast.unparse(call.func)
        there = _is_moved(file, given, loop)
        on = [value.call in moved for value in models]
        if all(on) and there is False and _is_plain(file, loop):
            yield Found(
                call,
                f"`{func}` was moved to a device and `{text}` was not: on a GPU this raises"
                " RuntimeError.",
                f"Move it in the loop: `{text} = {text}.to(device)`.",
            )
            return
        if not any(on) and there and not any(_may_move(value) for value in models):
            yield Found(
                call,
                f"`{text}` is moved to a device and `{func}` never is: on a GPU this raises"
                " RuntimeError.",
                f"Move the model before the optimizer is made: `{func}.to(device)`.",
            )
            return


def _labels(file: File, loop: Loop) -> Iterator[Found]:
    """Look for labels that stay behind while the inputs of the same batch are moved."""
    for call in file.tree.own_calls(loop.node):
        if len(call.args) < 2 or not isinstance(call.args[1], ast.Name):
            continue
        name = file.dotted(call.func)
        library = name.startswith("torch.nn.functional.") and ("loss" in name or "entropy" in name)
        if not (library or file.values.is_a(call.func, "loss")):
            continue
        out, label = call.args[0], call.args[1]
        if not is_batch_tensor(file, label) or batch_of(file, label) is not loop:
            continue
        if isinstance(out, ast.Name):
            bindings = file.values.bindings.reaching(out).bindings
            asked = bindings[0].value if len(bindings) == 1 else None
        else:
            asked = out
        if not (isinstance(asked, ast.Call) and asked.args and is_model_call(file, asked)):
            continue
        given = _unmoved(asked.args[0])
        known = given is not None and batch_of(file, given) is loop
        if not known or not _is_moved(file, asked.args[0], loop):
            continue
        if _is_moved(file, label, loop) is False:
            yield Found(
                call,
                f"`{ast.unparse(given or out)}` is moved to a device and"
                f" `{label.id}` is not: on a GPU"
                " the loss raises RuntimeError.",
                f"Move it in the loop: `{label.id} = {label.id}.to(device)`.",
            )
            return


def _unmoved(node: ast.expr | None) -> ast.Name | None:
    """Give the name that is given to a model, without ``.to(device)`` and the like."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        node = node.func.value
    return node if isinstance(node, ast.Name) else None


def _is_moved(file: File, given: ast.expr, loop: Loop) -> bool | None:
    """Say whether a part of a batch is moved; None if that is not certain."""
    name = _unmoved(given)
    if name is None:
        return None
    for node in ast.walk(given):
        if isinstance(node, ast.Call) and method(node) in ("to", "cuda"):
            return True
    found: bool | None = False
    for call, on in moves(file):
        if key(on) == name.id and file.tree.holds(loop.node, call):
            parent = file.tree.parent(call)
            if not isinstance(parent, ast.Expr):
                return True
            found = None  # the result is thrown away: a rule of its own
    text = file.text_of(loop.node)
    target = ast.unparse(loop.node.target)
    others = any(word in text for word in ("cuda", "device", ".to("))
    batch = [one for one in loop.batch if f"{one}.to(" in text or f"{one}.cuda(" in text]
    if others and (name.id in batch or "batch" in target or not batch):
        return None
    return found


def _is_plain(file: File, loop: Loop) -> bool:
    """Say whether a loader certainly gives tensors in the memory of the CPU."""
    loader = file.made(loop.loader, "loader")
    if loader is None or argument(loader.call, "collate_fn") is not None:
        return False
    dataset = loader.file.made(argument(loader.call, "dataset", 0), "dataset")
    if dataset is None:
        return False
    if dataset.name.startswith("torchvision.datasets."):
        return True
    if dataset.definition is not None:
        text = dataset.definition.file.text_of(dataset.definition.node)
        given = " ".join(map(ast.unparse, dataset.call.args))
        return not any(word in text + given for word in ("device", "cuda", ".to("))
    texts = []
    for one in dataset.call.args:
        texts.append(ast.unparse(one))
        if key(one):
            for binding in dataset.file.values.bindings.reaching(one).bindings:
                texts.append(ast.unparse(binding.value) if binding.value is not None else "device")
    return not any(word in text for text in texts for word in ("device", "cuda", ".to("))


def _moves_itself(models: list[Value]) -> bool:
    """Say whether a module moves its own input."""
    for value in models:
        if value.definition is not None:
            text = value.definition.file.text_of(value.definition.node)
            if any(word in text for word in (".to(", "device", ".cuda")):
                return True
    return False


def _may_move(value: Value) -> bool:
    """Say whether a module may be moved in a way that is not seen."""
    file = value.file
    given = [*value.call.args, *(one.value for one in value.call.keywords)]
    if any("device" in ast.unparse(one) for one in given):
        return True
    parent = file.tree.parent(value.call)
    if not isinstance(parent, ast.Assign):
        return True
    name = key(parent.targets[0])
    if not name or file.tree.inside(parent, ast.ClassDef) in file.modules:
        return True  # a part of another module, moved with it
    for one in file.tree.each(ast.Call):
        inside = [key(arg) for arg in [*one.args, *(k.value for k in one.keywords)]]
        if name in inside:
            function = file.called(one)
            passive = file.dotted(one.func).startswith(_PASSIVE)
            if not passive and (function is None or isinstance(function.node, ast.ClassDef)):
                return True
        if key(getattr(one.func, "value", None)) == name and method(one) in ("to", "cuda", "apply"):
            return True
    return False


def _in_forward(file: File, node: ast.ClassDef, moved: dict[ast.Call, Value]) -> Iterator[Found]:
    """Look for tensors that `forward` makes on the CPU and gives to its layers."""
    own = (one for one in node.body if isinstance(one, ast.FunctionDef))
    found = next((one for one in own if one.name == "forward"), None)
    if found is None:
        return
    owners = [value.definition for value in moved.values() if value.definition is not None]
    certain = any(owner.node is node for owner in owners)
    for call in file.tree.own_calls(found):
        name = file.dotted(call.func)
        if not (name.startswith("torch.") and name.removeprefix("torch.") in _MAKERS):
            continue
        if argument(call, "device") is not None or any(k.arg is None for k in call.keywords):
            continue
        use = _use(file, call)
        if use is None:
            continue
        yield Found(
            call,
            f"`{ast.unparse(call)}` is made on the CPU in each `forward` and given to"
            f" `{ast.unparse(use)}`: with the model on a GPU this raises RuntimeError.",
            "Make it where the input is: `device=x.device`, with the name of the input.",
            certain=certain,
        )


def _made_beside(file: File, moved: dict[ast.Call, Value]) -> Iterator[Found]:
    """Look for noise and the like, made on the CPU and given to a model that was moved."""
    for call in file.calls(*(f"torch.{name}" for name in _MAKERS)):
        if argument(call, "device") is not None or any(k.arg is None for k in call.keywords):
            continue
        function = file.tree.function(call)
        if function is not None and function.name == "forward":
            continue
        for use in _given_to(file, call):
            models = [one for one in file.values.of(use.func) if one.kind == "module"]
            text = ast.unparse(use.func)
            back = any(
                f"{text}.cpu(" in file.text or f'{text}.to("cpu' in file.text for _ in models
            )
            if models and not back and all(_is_placed(one, moved) for one in models):
                if not _moves_itself(models):
                    yield Found(
                        call,
                        f"`{ast.unparse(call)}` is made on the CPU and given to"
                        f" `{text}`, which was moved"
                        " to a device: on a GPU this raises RuntimeError.",
                        "Make it there: add `device=device`.",
                    )
                    break


def _given_to(file: File, call: ast.Call) -> list[ast.Call]:
    """Give the calls that take a new tensor as it is."""
    parent = file.tree.parent(call)
    if isinstance(parent, ast.Call) and call in parent.args:
        return [parent]
    if not (isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name)):
        return []
    found = []
    for one in file.tree.own_calls(file.tree.scope(call)):
        for given in one.args:
            if isinstance(given, ast.Name) and given.id == parent.targets[0].id:
                reaching = file.values.bindings.reaching(given)
                bindings = [binding.statement for binding in reaching.bindings]
                if bindings == [parent] and reaching.rest == "nothing":
                    found.append(one)
    return found


def _is_placed(value: Value, moved: dict[ast.Call, Value]) -> bool:
    """Say whether a module is moved where it is made."""
    around = value.file.tree.parent(value.call)
    return (
        value.call in moved and isinstance(around, ast.Attribute) and around.attr in ("to", "cuda")
    )


def _use(file: File, call: ast.Call) -> ast.expr | None:
    """Give the layer that a new tensor is given to, as it is."""
    parent = file.tree.parent(call)
    if isinstance(parent, ast.Call) and call in parent.args:
        layers = file.values.of(parent.func)
        if layers and all(one.name.startswith("torch.nn.") for one in layers):
            return parent.func
    if isinstance(parent, ast.Assign) and isinstance(parent.targets[0], ast.Name):
        name = parent.targets[0].id
        function = file.tree.function(call)
        uses = [
            one
            for one in file.tree.own(function or parent)
            if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)
        ]
        first = uses[0] if uses else None
        around = file.tree.parent(first) if first is not None else None
        if isinstance(around, ast.Tuple):
            around = file.tree.parent(around)
        if isinstance(around, ast.Call) and first is not around.func:
            layers = file.values.of(around.func)
            if layers and all(one.name.startswith("torch.nn.") for one in layers):
                return around.func
    return None


RULE = Rule(
    name="mixed-devices",
    severity="error",
    title="Model and batch are on different devices",
    why=(
        "`model.to(device)` moves the parameters, and nothing else. A batch of a loader, and a"
        " tensor that `forward` makes with `torch.zeros`, are in the memory of the CPU until they"
        " are moved. On a machine without a GPU all is well; on the one with it the first step"
        " raises RuntimeError (expected all tensors to be on the same device)."
    ),
    fix="Move the model once, each batch in the loop, and make new tensors with `device=x.device`.",
    bad="""\
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
data = datasets.MNIST("data", train=True, transform=transforms.ToTensor())
loader = DataLoader(data, batch_size=64, shuffle=True)
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).to(device)
optimizer = torch.optim.Adam(model.parameters())
criterion = nn.CrossEntropyLoss()
model.train()
for images, labels in loader:
    loss = criterion(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    good="""\
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
data = datasets.MNIST("data", train=True, transform=transforms.ToTensor())
loader = DataLoader(data, batch_size=64, shuffle=True)
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10)).to(device)
optimizer = torch.optim.Adam(model.parameters())
criterion = nn.CrossEntropyLoss()
model.train()
for images, labels in loader:
    images, labels = images.to(device), labels.to(device)
    loss = criterion(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    source="PyTorch docs, CUDA semantics; Hung-yi Lee 2021, PyTorch tutorial:"
    " tensors on different devices.",
    check=check,
)
