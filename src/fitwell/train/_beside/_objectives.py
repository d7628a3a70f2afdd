"""Objectives around another one: a penalty on the weights, and the answers of a teacher.

What is measured stays that of the objective inside: the loss of a validation part has neither.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...core.errors import UsageError
from ...core.spec import Spec, build
from .._objective import Logged, Measured, Objective, measure


@final
@dataclass(frozen=True)
class Penalized:
    """Add the sizes of the weights to an objective, so that small ones are preferred.

    `l2` shrinks all weights in proportion, `l1` drives many towards 0. With optimizers that adapt
    their rates, such as Adam, weight decay of the optimizer (AdamW) usually generalizes better
    than `l2`; with plain SGD the two are the same. A gradient step leaves small weights
    instead of exact zeros: set those below a threshold to 0 afterwards.

        loss = objective + l1 · Σ|w| + l2/2 · Σ w²

    Args:
        objective: What is penalized; it alone is measured.
        l1: Strength of the sum of sizes.
        l2: Strength of the sum of squares; it pulls each weight by ``l2 · w``.
        vectors: Penalize biases and the gains of normalization layers, too. Without it only
            parameters of two dimensions or more count, as for weight decay.

    Raises:
        UsageError: A strength is negative or not finite.

    Source: tikhonov1943stability; tibshirani1996regression.
    Reduces to: the objective inside at `l1=0, l2=0`.
    Checked against: scikit-learn Ridge and Lasso.
    """

    objective: Objective
    l1: float = field(default=0.0, kw_only=True)
    l2: float = field(default=0.0, kw_only=True)
    vectors: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        for name, value in (("l1", self.l1), ("l2", self.l2)):
            if not 0 <= value < math.inf:
                raise UsageError(
                    f"Penalized: `{name}` must be finite and not negative; got {value}."
                    " Use 0 to switch it off."
                )

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, Logged]:
        """Give the loss of a batch with the penalty, which is logged by itself.

        Args:
            model: The model.
            batch: What the objective takes.
        """
        loss, logged = self.objective(model, batch)
        penalty = self.penalty(model)
        if penalty is None:
            return loss, logged
        return loss + penalty.to(loss.device), {**logged, "penalty": penalty.detach()}

    def penalty(self, model: nn.Module) -> Tensor | None:
        """Give the penalty alone; None where there is nothing to add.

        Args:
            model: Whose trainable weights.
        """
        least = 1 if self.vectors else 2
        found = [p for p in model.parameters() if p.requires_grad and p.ndim >= least]
        total: Tensor | None = None
        for weight in found if self.l1 or self.l2 else ():
            term = self.l2 / 2 * weight.square().sum() if self.l2 else 0.0
            if self.l1:
                term = term + self.l1 * weight.abs().sum()
            total = term if total is None else total + term  # type: ignore[assignment]
        return total

    def measure(self, model: nn.Module, batches: Iterable[Any]) -> Measured:
        """Measure the objective inside.

        Args:
            model: The model, already in evaluation mode.
            batches: The examples, in batches.
        """
        return measure(self.objective, model, batches)  # type: ignore[return-value]


@final
@dataclass(frozen=True)
class Distillation:
    """Train a model towards the answers of a teacher as well as towards the targets.

    For a small model beside a large one: all the teacher's probabilities say more about an example
    than its label does, most of all with few labels. Where teacher and model are about as good, it
    gains little. The teacher answers every training batch: one forward pass more.

        loss = (1 - share) · objective + share · T² · mean KL( softmax(t / T) ‖ softmax(z / T) )

    with the logits ``z`` of the model, ``t`` of the teacher and ``T = temperature``. For a large T
    the second term becomes half of the mean of ``(z - t)²`` over the classes, both centered.

    Args:
        objective: What the model learns from the targets; it alone is measured. It must call the
            model once.
        teacher: Takes the same inputs and gives logits, on the same device. It is set to
            evaluation, has no gradients, and is no part of the model or its checkpoints.
        temperature: Divides the logits of both: the larger it is, the more the small probabilities
            count. The factor T² keeps the gradient's size.
        share: Of the teacher; 0 ignores it and 1 ignores the targets.

    Raises:
        UsageError: A setting is out of range, the teacher is the model itself, or the two give
            different shapes.

    Source: hinton2015distilling, section 2.
    Reduces to: the objective inside at `share=0`.
    Checked against: the formula in numpy; the limit of large temperatures.
    """

    objective: Objective
    teacher: nn.Module = field(repr=False)
    temperature: float = field(default=4.0, kw_only=True)
    share: float = field(default=0.9, kw_only=True)

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise UsageError(
                "Distillation: `temperature` must be positive and finite; got"
                f" {self.temperature}. Use 4."
            )
        if not 0 <= self.share <= 1:
            raise UsageError(
                f"Distillation: `share` must lie in [0, 1]; got {self.share}. Use 0.9."
            )

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, Logged]:
        """Give the loss of a batch; the part of the teacher is logged by itself.

        Args:
            model: The model.
            batch: Inputs, and what else the objective takes.
        """
        if self.share == 0:
            return self.objective(model, batch)
        heard = _Listening(model)
        loss, logged = self.objective(heard, batch)  # type: ignore[arg-type]
        if len(heard.outputs) != 1:
            raise UsageError(
                "Distillation: `objective` must call the model once per batch; got"
                f" {len(heard.outputs)} calls. Write an objective of your own for such a loss."
            )
        distance = self.distance(heard.outputs[0], self._answers(model, batch[0]))
        mixed = (1 - self.share) * loss + self.share * distance
        return mixed, {**logged, "distillation": distance.detach()}

    def distance(self, logits: Tensor, teacher: Tensor) -> Tensor:
        """Give how far the model's probabilities are from the teacher's, times T².

        Args:
            logits: Of the model; (B, K).
            teacher: Logits of the teacher; (B, K).
        """
        if logits.shape != teacher.shape:
            raise UsageError(
                "Distillation: `teacher` must give the shape of the model's outputs,"
                f" {tuple(logits.shape)}; got {tuple(teacher.shape)}. Train it on the same classes."
            )
        exact = torch.promote_types(logits.dtype, torch.float32)  # whatever the forward pass ran in
        student = (logits.to(exact) / self.temperature).log_softmax(dim=1)
        target = (teacher.to(exact) / self.temperature).log_softmax(dim=1)
        each = F.kl_div(student, target, reduction="none", log_target=True).sum(dim=1)
        return self.temperature**2 * each.mean()

    def _answers(self, model: nn.Module, inputs: Any) -> Tensor:
        if self.teacher is model:
            raise UsageError(
                "Distillation: `teacher` must be another module than the model; got the same."
                " Pass a copy of it, such as copy.deepcopy(model)."
            )
        if any(module.training for module in self.teacher.modules()):
            self.teacher.eval()
        with torch.no_grad():
            answers: Tensor = self.teacher(inputs)
        return answers

    def measure(self, model: nn.Module, batches: Iterable[Any]) -> Measured:
        """Measure the objective inside; the teacher is not asked.

        Args:
            model: The model, already in evaluation mode.
            batches: The examples, in batches.
        """
        return measure(self.objective, model, batches)  # type: ignore[return-value]


class _Listening:
    """A model that keeps what it gave; in all else it is that model."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.outputs: list[Tensor] = []

    def __call__(self, *inputs: Any, **more: Any) -> Tensor:
        output: Tensor = self._model(*inputs, **more)
        self.outputs.append(output)
        return output

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def _l1(strength: float, *, objective: Objective) -> Penalized:
    return Penalized(objective, l1=strength)


def _l2(strength: float, *, objective: Objective) -> Penalized:
    return Penalized(objective, l2=strength)


def _elastic_net(l1: float, l2: float, *, objective: Objective) -> Penalized:
    return Penalized(objective, l1=l1, l2=l2)


PENALTIES: Mapping[str, Callable[..., Penalized]] = {
    "ElasticNet": _elastic_net,
    "L1": _l1,
    "L2": _l2,
}


def penalize(text: str | Spec, objective: Objective) -> Penalized:
    """Build a penalty around an objective from its text, such as ``"L2(0.01)"``.

    Args:
        text: ``L1(strength)``, ``L2(strength)`` or ``ElasticNet(l1, l2)``.
        objective: What is penalized.

    Raises:
        UnknownName: No penalty or argument of that name.
        UsageError: A strength is negative or not finite.
    """
    found: Penalized = build(text, PENALTIES, owner="train", what="penalty", objective=objective)
    return found


def distill(text: str | Spec, objective: Objective, teacher: nn.Module) -> Distillation:
    """Build distillation around an objective from its text, such as ``"Distillation(share=0.5)"``.

    Args:
        text: `Distillation` with its temperature and share; the bare name takes the usual ones.
        objective: What the model learns from the targets.
        teacher: The model to learn from.

    Raises:
        UnknownName: Another name, or no argument of that name.
        UsageError: A setting is out of range.
    """
    known = {"Distillation": partial(Distillation, objective, teacher)}
    found: Distillation = build(text, known, owner="train", what="kind of distillation")
    return found
