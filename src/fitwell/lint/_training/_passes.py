"""Loops that run a model over batches and train nothing: where a program measures or predicts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from .._model._loops import LOOPS, Loop, unwrapped
from .._model._once import once
from .._model._roles import held_out, role, role_of_name, words_of
from .._model._tree import key

if TYPE_CHECKING:
    from .._model._file import File

_MODELS: Final = frozenset(
    {"model", "net", "network", "classifier", "regressor", "predictor", "student", "ema"}
)
_NOT_MODELS: Final = frozenset(
    {"criterion", "loss", "metric", "metrics", "transform", "transforms", "accuracy", "augment"}
)
_MEASURES: Final = frozenset(
    {
        "eval", "evaluate", "evaluation", "validate", "validation", "valid", "val", "test",
        "testing", "predict", "prediction", "predictions", "inference", "infer", "accuracy",
    }
)  # fmt: skip
_TRAINS: Final = frozenset({"train", "training", "fit", "pretrain", "finetune", "adapt", "attack"})
_GRADIENTS: Final = frozenset(
    {
        "attack", "adversarial", "fgsm", "pgd", "saliency", "gradcam", "cam", "captum", "hessian",
        "jacobian", "influence", "adapt", "tent", "langevin", "attribution", "attribute", "lbfgs",
        "grad", "grads", "gradient", "gradients", "jvp", "vjp",
    }
)  # fmt: skip
FRAMEWORKS: Final = (
    "lightning", "pytorch_lightning", "fitwell", "keras", "tensorflow", "fastai", "ignite",
    "skorch", "catalyst", "composer", "poutyne", "mmengine", "mmcv", "detectron2",
    "transformers.Trainer", "transformers.Seq2SeqTrainer", "trl", "sentence_transformers", "jax",
    "flax", "deepspeed", "torchtnt", "pytest", "unittest",
)  # fmt: skip
"""Libraries that run the evaluation themselves, or whose models are not torch's."""
_DEPTH: Final = 3
Place = tuple["File", ast.AST]


@final
@dataclass(frozen=True, eq=False)
class ModelCall:
    """A call of a model.

    Args:
        call: The call.
        file: Its file.
        model: What is called.
        path: The call, then the calls of the functions that lead to it, from the inside out.
    """

    call: ast.Call
    file: File = field(repr=False)
    model: ast.expr
    path: tuple[Place, ...] = field(repr=False)

    @property
    def site(self) -> ast.AST:
        """The place in the file that was asked."""
        return self.path[-1][1]


@final
@dataclass(frozen=True, eq=False)
class Pass:
    """A loop that runs a model over batches and computes no gradients.

    Args:
        file: The file.
        node: The loop.
        loader: What the batches come from.
        held_out: Whether it certainly measures on data that are not for training, or predicts.
        calls: The calls of models in it.
    """

    file: File = field(repr=False)
    node: ast.For | ast.AsyncFor
    loader: ast.expr
    held_out: bool
    calls: tuple[ModelCall, ...] = field(repr=False)


@once
def batch_loops(file: File) -> tuple[Loop, ...]:
    """Find loops over batches: those of the file, and those over a thing that has a ``dataset``.

    Args:
        file: The file.
    """
    return (*file.loops, *_other_loops(file))


def _other_loops(file: File) -> Iterator[Loop]:
    known = {loop.node for loop in file.loops}
    with_data = {
        key(node.value) for node in file.tree.each(ast.Attribute) if node.attr == "dataset"
    }
    for node in file.tree.each(ast.For, ast.AsyncFor):
        loader = unwrapped(file, node.iter)
        if node in known or not key(loader):
            continue
        if key(loader) in with_data or _annotated(file, loader):
            trains = any(event.what in ("backward", "step") for event in file.events(node))
            names = tuple(one.id for one in ast.walk(node.target) if isinstance(one, ast.Name))
            yield Loop(node, loader, role(file, loader), trains, names)


def _annotated(file: File, loader: ast.expr) -> bool:
    """Say whether a name is a parameter that is declared as a loader."""
    function = file.tree.function(loader)
    if function is None or not isinstance(loader, ast.Name):
        return False
    some = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return any(
        one.arg == loader.id and file.dotted(one.annotation).endswith("DataLoader") for one in some
    )


def passes(file: File) -> Iterator[Pass]:
    """Find the loops that run a model and compute no gradients.

    Args:
        file: The file.
    """
    known = {loop.node: loop for loop in batch_loops(file)}
    for node in file.tree.each(ast.For, ast.AsyncFor):
        loop = known.get(node)
        loader = loop.loader if loop else unwrapped(file, node.iter)
        roles = loop.roles if loop else role(file, loader)
        trains = any(event.what in ("backward", "step") for event in file.events(node))
        if trains or (loop is None and not held_out(roles)):
            continue
        calls = tuple(model_calls(file, node))
        if calls:
            own = role_of_name(key(loader).rpartition(".")[2])
            told = measures(file, node) and own != {"train"}
            yield Pass(file, node, loader, held_out(roles) or told, calls)


def measures(file: File, node: ast.AST) -> bool:
    """Say whether the function around a node measures or predicts, as its name tells.

    Args:
        file: The file.
        node: Of this file.
    """
    function = file.tree.function(node)
    words = set(words_of(function.name)) if function is not None else set()
    return bool(words & _MEASURES) and not words & _TRAINS


def model_calls(file: File, node: ast.AST, depth: int = 0) -> Iterator[ModelCall]:
    """Find the calls of models below a node, and in the functions that it calls.

    Args:
        file: The file.
        node: A loop or a function.
        depth: How many functions were followed.
    """
    for call in file.tree.own_calls(node):
        model = model_of(file, call)
        if model is not None:
            yield ModelCall(call, file, model, ((file, call),))
            continue
        definition = file.called(call) if depth < _DEPTH else None
        if definition is None or isinstance(definition.node, ast.ClassDef):
            continue
        for inner in model_calls(definition.file, definition.node, depth + 1):
            yield ModelCall(inner.call, inner.file, inner.model, (*inner.path, (file, call)))


def model_of(file: File, call: ast.Call) -> ast.expr | None:
    """Give the model that a call runs; None if it does not certainly run one.

    Args:
        file: The file.
        call: The call.
    """
    func = call.func
    if isinstance(func, ast.Attribute) and func.attr == "forward":
        func = func.value
    name = key(func)
    last = name.rpartition(".")[2]
    words = words_of(last)
    if not words or set(words) & _NOT_MODELS:
        return None
    if name == "self":
        home = file.tree.inside(call, ast.ClassDef)
        return func if home in file.modules else None
    called = words[-1] in _MODELS or words[0] == "net"
    values = file.values.of(func)
    if values:
        whole = all(
            value.kind == "module"
            and (called or value.definition is not None or _is_whole(value.name))
            for value in values
        )
        return func if whole else None
    known = file.names.imported(name.partition(".")[0]) or (last[:1].isupper() and len(last) > 1)
    if known or not called or file.called(call) is not None:
        return None
    return func


def _is_whole(name: str) -> bool:
    """Say whether what a library makes is a model, not a layer."""
    return name == "torch.nn.Sequential" or not name.startswith("torch.nn.")


def needs_gradients(item: Pass) -> bool:
    """Say whether gradients are, or may be, used in a loop: attacks, saliency, adaptation.

    Args:
        item: The loop.
    """
    file = item.file
    function = file.tree.function(item.node)
    if function is not None and _GRADIENTS & set(words_of(function.name)):
        return True
    scope = function if function is not None else item.node
    trains = any(loop.trains for loop in file.loops if file.tree.holds(scope, loop.node))
    return any(
        _uses_gradients(node)
        for node in file.tree.own(scope)
        if file.tree.holds(item.node, node) or not trains or _is_of(file, item, node)
    )


def _is_of(file: File, item: Pass, node: ast.AST) -> bool:
    """Say whether a node beside a training loop takes gradients of what the other loop made."""
    if not isinstance(node, ast.Attribute) or node.attr != "backward":
        return isinstance(node, ast.Attribute) and node.attr in ("enable_grad", "retain_grad")
    bindings = file.values.bindings.reaching(node.value).bindings if key(node.value) else ()
    return any(file.tree.holds(item.node, one.statement) for one in bindings)


def _uses_gradients(node: ast.AST) -> bool:
    name = ""
    if isinstance(node, ast.Attribute):
        name = node.attr
    elif isinstance(node, (ast.Name, ast.keyword)):
        name = (node.id if isinstance(node, ast.Name) else node.arg) or ""
    if name in ("enable_grad", "requires_grad", "requires_grad_", "retain_grad", "backward"):
        return True
    return name not in ("", "no_grad", "set_grad_enabled") and bool(
        _GRADIENTS & set(words_of(name))
    )


def in_framework(file: File) -> bool:
    """Say whether a library may run the evaluation, or the file is a test of a program.

    Args:
        file: The file.
    """
    return any(file.names.knows(name) for name in FRAMEWORKS)


def innermost(file: File, node: ast.AST) -> ast.AST | None:
    """Give the innermost loop around a node.

    Args:
        file: The file.
        node: Of this file.
    """
    return file.tree.inside(node, *LOOPS)


def speaks_of_doubt(file: File, node: ast.AST) -> bool:
    """Say whether dropout may be left on by intention, to measure how sure a model is.

    Args:
        file: The file.
        node: Of this file.
    """
    function = file.tree.function(node)
    if function is None:
        return False
    text = file.text_of(function).lower()
    words = ("uncertain", "mc_", "mcdropout", "monte", "bayes", "enable_dropout")
    return any(word in text for word in words)
