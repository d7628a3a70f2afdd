"""A model that is switched to evaluation in the first epoch and trained like that from then on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._file import File
from ..._model._loops import LOOPS, Event
from ..._model._tree import key
from ..._rule import Found, Rule
from ..._training._modes import same_model
from ..._training._passes import in_framework, model_calls
from ..._training._switches import depends_on_mode

_EPOCHS = re.compile(r"epoch|\bep\b|n_iter|num_iter|rounds?\b|steps", re.IGNORECASE)


def check(file: File) -> Iterator[Found]:
    """Look for `eval()` in a loop that trains the same model and never calls `train()`.

    Args:
        file: The file.
    """
    if in_framework(file):
        return
    seen: set[ast.AST] = set()
    loops = [loop for loop in file.tree.each(*LOOPS) if _trains(file, loop)]
    for loop in sorted(loops, key=file.tree.place, reverse=True):  # the inner ones first
        for event in file.events(loop):
            if event.what != "eval" or event.call in seen:
                continue
            seen.add(event.call)
            if _is_fault(file, loop, event):
                place = event.call if event.file is file else event.site
                yield Found(
                    place,
                    f"`{event.on}.eval()` runs in the loop that trains, and nothing calls"
                    " `train()` there: from the second round on it trains without dropout, batch"
                    " norm frozen.",
                    f"Call `{event.on}.train()` at the start of each epoch, before its batches.",
                )


def _trains(file: File, loop: ast.AST) -> bool:
    return any(event.what == "backward" for event in file.events(loop))


def _is_fault(file: File, loop: ast.AST, event: Event) -> bool:
    func = event.call.func
    model = func.value if isinstance(func, ast.Attribute) else None
    if model is None or not key(model):
        return False
    events = file.events(loop)
    if any(one.what == "train" and _restores(one, event, model) for one in events):
        return False
    if _is_last(file, loop, event) or _made_in(file, loop, event, model):
        return False
    if _uncalled_train(file) or depends_on_mode(event.file, model) == "no":
        return False
    together = all(one.site is event.site for one in events if one.what == "backward")
    header = file.text_of(loop).partition("\n")[0]
    if together and not (_EPOCHS.search(header) and event.site is not event.call):
        return False
    return _is_trained(file, loop, event, model)


def _restores(one: Event, event: Event, model: ast.expr) -> bool:
    """Say whether a call of ``train()`` may be one on the model."""
    func = one.call.func
    other = func.value if isinstance(func, ast.Attribute) else None
    if other is None:
        return True
    same = same_model(one.file, other, event.file, model)
    if same is None and one.file is event.file and one.site is one.call:
        return event.site is not event.call
    return same is not False


def _is_last(file: File, loop: ast.AST, event: Event) -> bool:
    """Say whether training ends after an evaluation, or it runs in the last round alone."""
    child: ast.AST = event.site
    for above in file.tree.above(event.site):
        if isinstance(above, ast.If) and child is not above.test:
            test = ast.unparse(above.test)
            ends = any(
                isinstance(one, (ast.Break, ast.Return)) for one in above.body + above.orelse
            )
            if (
                ends
                or "len(" in test
                or re.search(r"^\w+( \+ 1)? == |- 1\b|\+ 1 ==|last|done|final|finish|stop", test)
            ):
                return True
        if above is loop:
            body: list[ast.stmt] = getattr(above, "body", [])
            return any(isinstance(one, (ast.Break, ast.Return)) for one in body)
        child = above
    return False


def _made_in(file: File, loop: ast.AST, event: Event, model: ast.expr) -> bool:
    """Say whether the model is made anew in each round of the loop."""
    for value in event.file.values.of(model):
        if value.file is file and file.tree.holds(loop, value.call):
            return True
        function = value.file.tree.function(value.call)
        around = file.tree.function(loop)
        if function is None or function is around:
            continue
        if any(_reaches(file, call, function, 0) for call in file.tree.own_calls(loop)):
            return True
    last = key(model).rpartition(".")[2]
    for node in ast.walk(loop):
        if isinstance(node, (ast.Assign, ast.For)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                several = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
                if any(key(one).rpartition(".")[2] == last for one in several):
                    return True
    return _owner_made_in(file, loop, event)


def _owner_made_in(file: File, loop: ast.AST, event: Event) -> bool:
    """Say whether the trainer that holds the model is made in the loop."""
    func = event.site.func
    name = key(func.value) if isinstance(func, ast.Attribute) else ""
    if not name or event.site is event.call:
        return False
    return any(
        isinstance(node, ast.Assign) and any(key(one) == name for one in node.targets)
        for node in ast.walk(loop)
    )


def _reaches(file: File, call: ast.Call, function: ast.AST, depth: int) -> bool:
    definition = file.called(call)
    if definition is None or isinstance(definition.node, ast.ClassDef) or depth > 3:
        return False
    if definition.node is function:
        return True
    there = definition.file
    return any(
        _reaches(there, inner, function, depth + 1)
        for inner in there.tree.own_calls(definition.node)
    )


def _uncalled_train(file: File) -> bool:
    """Say whether ``model.train`` stands there without parentheses: another rule's matter."""
    return re.search(r"^\s*[\w.]+\.train\s*(#.*)?$", file.text, re.MULTILINE) is not None


def _is_trained(file: File, loop: ast.AST, event: Event, model: ast.expr) -> bool:
    """Say whether an optimizer has the model's parameters, or else the loop runs that model."""
    answers: list[bool | None] = []
    for there in file.project.files:
        for call in there.method_calls("parameters", "named_parameters"):
            func = call.func
            parent = there.tree.inside(call, ast.Call)
            if parent is not None and isinstance(func, ast.Attribute):
                if there.made(parent, "optimizer") or "opt" in key(parent.func).lower():
                    answers.append(same_model(there, func.value, event.file, model))
    if any(answers):
        return True
    if answers and all(answer is False for answer in answers):
        return False
    return any(
        same_model(call.file, call.model, event.file, model)
        for node in ast.walk(loop)
        if isinstance(node, LOOPS) and _trains(file, node)
        for call in model_calls(file, node)
    )


RULE = Rule(
    name="train-never-restored",
    severity="error",
    title="After the first evaluation the model stays in evaluation mode",
    why=(
        "`eval()` holds until `train()` is called. Where each epoch ends with an evaluation and"
        " `train()` is called once before the first epoch, or never, all epochs but the first"
        " train without dropout and with the running statistics of batch norm as they were: the"
        " model overfits, and batch norm no longer follows the data. Nothing is reported."
    ),
    fix="Call `model.train()` at the start of each epoch.",
    bad="""\
import torch
from torch import nn

def fit(model, train_loader, valid_loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(epochs):
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for x, y in valid_loader:
                correct += (model(x).argmax(dim=1) == y).sum().item()
        print(epoch, correct / len(valid_loader.dataset))
""",
    good="""\
import torch
from torch import nn

def fit(model, train_loader, valid_loader, epochs):
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad()
            loss = loss_fn(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for x, y in valid_loader:
                correct += (model(x).argmax(dim=1) == y).sum().item()
        print(epoch, correct / len(valid_loader.dataset))
""",
    source="Course tutorial (Hung-yi Lee 2021): `model.train()` opens each epoch.",
    check=check,
)
