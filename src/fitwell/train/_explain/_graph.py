"""The backward pass: graphs that are gone, that never were, or whose tensors were written over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ._explanation import Explanation, Rule, sizes
from ._scene import Scene


def _freed(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.tell(
        "graph-freed",
        "backward went a second time through a graph, which the first time gave free",
        "Compute outputs and loss anew in every step, and detach what is kept from step to step:"
        " hidden = hidden.detach(), total += loss.item(). Add two losses of one graph first:"
        " (loss_a + loss_b).backward().",
    )


def _no_graph(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "the loss depends on no parameter that is trained, so there is nothing to go back to"
    fix = (
        "Compute it outside of torch.no_grad(), from the outputs themselves: not from .item(),"
        " .detach(), .numpy(), argmax or torch.tensor(loss)."
    )
    model = scene.model if scene.knows_model else None
    if model is not None and not any(p.requires_grad for p in model.parameters()):
        cause = "the model has no parameter that is trained"
        fix = "Unfreeze what is to be trained: model.requires_grad_(True)."
    return scene.tell("gradient-missing", cause, fix)


def _unused(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.tell(
        "gradient-missing",
        "a gradient was asked for a tensor that the loss does not depend on",
        "Use the tensor itself, not a copy of it, or pass allow_unused=True for None.",
    )


def _unused_parameters(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.tell(
        "gradient-missing",
        "some parameters took no part in the last loss, and the other processes wait for them",
        "Use every layer in forward, or freeze the others: layer.requires_grad_(False).",
    )


def _not_scalar(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.tell(
        "loss-shape",
        "backward starts from one number, and this loss has several",
        'Reduce it: loss.mean().backward(), or build the loss without reduction="none".',
    )


def _in_place(match: re.Match[str], scene: Scene) -> Explanation | None:
    shape, operation = sizes(match[1]), match[2].removesuffix("Backward0")
    cause = (
        f"a tensor of shape {shape} that backward needs, the result of {operation}, was written"
        " over after the forward pass"
    )
    fix = (
        "Write y = y + 1 instead of y += 1, avoid x[...] = and names that end in an underscore, and"
        " use nn.ReLU(inplace=False)."
    )
    weights = ", ".join(_parameters(scene, shape))
    if operation in ("AsStrided", "T", "Transpose", "Permute") and weights:
        cause = f"a weight was changed between forward and backward; {weights} has shape {shape}"
        fix = "Call optimizer.step() after the last backward(), or run the forward pass again."
    return scene.tell("in-place", cause, fix)


def _parameters(scene: Scene, shape: tuple[int, ...]) -> Iterator[str]:
    """Give names of parameters of a shape, also transposed, as linear layers use them."""
    if scene.model is not None:
        for name, parameter in scene.model.named_parameters():
            if tuple(parameter.shape) in (shape, shape[::-1]):
                yield name


def _leaf(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.tell(
        "in-place",
        "a tensor that is trained cannot be written over while its gradients are recorded",
        "Change it under torch.no_grad(), or make a new tensor: w = w + 1.",
    )


RULES: tuple[Rule, ...] = (
    (r"Trying to backward through the graph a second time", _freed),
    (r"does not require grad and does not have a grad_fn", _no_graph),
    (r"appears to not have been used in the graph", _unused),
    (r"Expected to have finished reduction in the prior iteration", _unused_parameters),
    (r"grad can be implicitly created only for scalar outputs", _not_scalar),
    (r"an inplace operation: \[\S+ \[([\d, ]*)\]\], which is output \d+ of (\w+)", _in_place),
    (r"a (?:view of a )?leaf Variable that requires grad .* in-place operation", _leaf),
)
