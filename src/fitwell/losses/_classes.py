"""Losses for classes: of logits, or of cosines, and right classes or their probabilities.

A target is a class index, or a probability for each class, as mixing examples or a teacher gives.

Axes: B batch, K classes; further axes, such as time, may follow those of the outputs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, Literal, final, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UsageError

Smoothing = Literal["uniform", "others"]
"""Where the share that smoothing takes goes: to all classes, or to all but the right one."""

_IGNORED: Final = -100  # torch's own

_Placed = dict[tuple[torch.device, torch.dtype], Tensor]


@final
@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Measure how improbable the model finds the right classes; takes logits, not probabilities.

    The loss for classes. Softmax is part of it: a softmax layer before it slows learning and is a
    common mistake. Targets are class indices, or one probability per class.

        loss = Σ_b Σₖ t_bk wₖ · (-log softmax(outputs_b)ₖ) / N
        t = (1 - ε) targets + ε / K,  ε = label_smoothing               (uniform)
                                      ε = label_smoothing · K / (K - 1)  (others)

    With indices, `targets` stands for their one-hot rows and N is the sum of ``w`` over the right
    classes; with probabilities N is the number of rows.

    Args:
        label_smoothing: Share of the target that is spread over classes; 0 switches it off.
        smoothing: Spread it over all classes, as torch does, or over all but the right one, as
            translation systems do. Right classes keep ``1 - label_smoothing`` of the target only
            in the second.
        weights: Weight of each class, to count rare ones more; empty for equal weights.
        ignore_index: Index that stands for no class, such as padding: its rows do not count. A
            batch of nothing else gives NaN, the mean of nothing.

    Shapes:
        outputs: (B, K)
        targets: (B,)
        return: ()

    Raises:
        UsageError: A setting is out of range, or outputs and targets do not fit together.

    Source: bridle1990training; label smoothing from szegedy2016rethinking, section 7, over the
        others as in ott2019fairseq.
    Reduces to: the negative log likelihood at `label_smoothing=0` and no weights.
    Checked against: torch.nn.CrossEntropyLoss; scikit-learn log_loss; both ways of smoothing
        against sums over the classes.
    """

    label_smoothing: float = 0.0
    smoothing: Smoothing = "uniform"
    weights: tuple[float, ...] = ()
    ignore_index: int = _IGNORED
    _placed: _Placed = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(
                "CrossEntropy: `label_smoothing` must lie in [0, 1); got"
                f" {self.label_smoothing}. Use 0 to switch it off."
            )
        if self.smoothing not in get_args(Smoothing):
            raise UsageError(
                f"CrossEntropy: `smoothing` must be 'uniform' or 'others'; got {self.smoothing!r}."
                " Use 'uniform' for the smoothing of torch."
            )
        object.__setattr__(self, "weights", _checked_weights("CrossEntropy", self.weights))

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Give the mean over the batch."""
        _check("CrossEntropy", outputs, targets, self.weights)
        weight = _place(self.weights, outputs, self._placed) if self.weights else None
        return F.cross_entropy(
            outputs,
            targets,
            weight,
            ignore_index=self.ignore_index if not targets.is_floating_point() else _IGNORED,
            label_smoothing=self._uniform(outputs.shape[1]),
        )

    def _uniform(self, classes: int) -> float:
        """Give the smoothing over all classes that is this one."""
        if self.smoothing == "uniform" or self.label_smoothing == 0:
            return self.label_smoothing
        if self.label_smoothing * classes > classes - 1:
            raise UsageError(
                "CrossEntropy: `label_smoothing` must be at most 1 - 1/K, where the right class is"
                f" as likely as others; got {self.label_smoothing} for {classes} classes."
                " Use 0.1."
            )
        return self.label_smoothing * classes / (classes - 1)


@final
@dataclass(frozen=True, kw_only=True)
class Focal:
    """Measure how improbable the right classes are, and count what is already right less.

    For many easy examples and few hard ones, as in detection, where the easy ones would outvote
    the hard ones; with classes of unequal size alone take the `weights` of `CrossEntropy`. It
    makes a model less sure than `CrossEntropy` does.

        loss = Σ_b Σₖ t_bk wₖ (1 - p_bk)^γ (-log p_bk) / N,  p = softmax(outputs)

    Targets and N are those of `CrossEntropy`.

    Args:
        gamma: The power γ: at 2, a right class with probability 0.9 counts a hundredth.
        weights: Weight of each class; empty for equal weights.

    Shapes:
        outputs: (B, K)
        targets: (B,)
        return: ()

    Raises:
        UsageError: A setting is out of range, or outputs and targets do not fit together.

    Source: lin2017focal, equation 5.
    Differs: softmax over classes instead of a sigmoid for each.
    Reduces to: `CrossEntropy` at `gamma=0`.
    Checked against: the formula in numpy; finite at logits of ±1e4.
    """

    gamma: float = 2.0
    weights: tuple[float, ...] = ()
    _placed: _Placed = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < math.inf:
            raise UsageError(
                f"Focal: `gamma` must be finite and not negative; got {self.gamma}. Use 2."
            )
        object.__setattr__(self, "weights", _checked_weights("Focal", self.weights))

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Give the mean over the batch."""
        _check("Focal", outputs, targets, self.weights)
        soft = targets.is_floating_point()
        log_probs = outputs.log_softmax(dim=1)
        if not soft:
            log_probs = log_probs.gather(1, targets.unsqueeze(1))
        # Above 0, or the gradient of a root at 0 would be infinite.
        rest = (-torch.expm1(log_probs)).clamp_min(torch.finfo(log_probs.dtype).tiny)
        losses = rest**self.gamma * -log_probs
        weight: Tensor | None = None
        if self.weights:
            weight = _place(self.weights, losses, self._placed)
            weight = weight.view(-1, *(1,) * (outputs.ndim - 2)) if soft else weight[targets]
        if soft:
            losses = losses * targets
            return (losses if weight is None else losses * weight).sum(dim=1).mean()
        losses = losses.squeeze(1)
        return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()


@final
@dataclass(frozen=True, kw_only=True)
class AdditiveMargin:
    """Ask that the right class leads by a margin; takes cosines, as `nn.CosineLinear` gives.

    For features that are compared later, such as faces or speakers of whom training saw none:
    classes end up tight and far apart. For a fixed set of classes take `CrossEntropy`. Cosines
    are poor logits by themselves; scale them by `scale` where probabilities are wanted.

        loss = CrossEntropy( scale · (outputs - margin · targets), targets )

    Indices stand for their one-hot rows. Of a target that is mixed from several classes, each
    has its margin in proportion to its probability, which makes the logits of mixed targets those
    mixed from the logits of whole ones.

    Args:
        margin: By how much the cosine of the right class is lowered in training.
        scale: Length of the features: what cosines are multiplied by.

    Shapes:
        outputs: (B, K)
        targets: (B,)
        return: ()

    Raises:
        UsageError: A setting is out of range, or outputs and targets do not fit together.

    Source: wang2018additive, equation 6.
    Differs: probabilities as targets; the scale is fixed, as in the source's experiments.
    Reduces to: `CrossEntropy` of `scale · outputs` at `margin=0`.
    Checked against: equation 6 written out.
    """

    margin: float = 0.35
    scale: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 2:
            raise UsageError(
                f"AdditiveMargin: `margin` must lie in [0, 2], as cosines differ by no more; got"
                f" {self.margin}. Use 0.35."
            )
        if not 0 < self.scale < math.inf:
            raise UsageError(
                f"AdditiveMargin: `scale` must be positive and finite; got {self.scale}. Use 30."
            )

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Give the mean over the batch."""
        _check("AdditiveMargin", outputs, targets)
        # Half precision is too coarse for cosines that are about to be multiplied.
        cosines = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        if targets.is_floating_point():
            shift = self.margin * targets
        else:
            shift = torch.zeros_like(cosines).scatter(1, targets.unsqueeze(1), self.margin)
        return F.cross_entropy(self.scale * (cosines - shift), targets)


def check_labels(targets: Tensor, num_classes: int) -> None:
    """Refuse class indices outside of the classes; do this once per data set, not per batch.

    On an accelerator such an index ends the process with a message that names neither. Reads the
    targets, so it waits for the device.

    Args:
        targets: Class indices.
        num_classes: How many classes there are.

    Shapes:
        targets: (B,)

    Raises:
        UsageError: An index is below 0 or not below `num_classes`.
    """
    wrong = (targets < 0) | (targets >= num_classes)
    if bool(wrong.any()):
        row = int(wrong.flatten().to(torch.uint8).argmax())
        raise UsageError(
            f"check_labels: `targets` must lie in 0 ... {num_classes - 1}; got"
            f" {targets.flatten()[row].item()} in row {row}. Renumber the classes from 0 on."
        )


def _checked_weights(owner: str, weights: tuple[float, ...]) -> tuple[float, ...]:
    found = tuple(float(weight) for weight in weights)
    if any(not (0 <= weight < math.inf) for weight in found):
        raise UsageError(
            f"{owner}: `weights` must be finite and not negative; got {found}."
            " Use 1 for a class of ordinary importance."
        )
    return found


def _place(weights: tuple[float, ...], outputs: Tensor, placed: _Placed) -> Tensor:
    """Give the weights as a tensor beside the outputs; it is made once for each place."""
    place = (outputs.device, outputs.dtype)
    if place not in placed:
        placed[place] = torch.tensor(weights, device=outputs.device, dtype=outputs.dtype)
    return placed[place]


def _check(owner: str, outputs: Tensor, targets: Tensor, weights: tuple[float, ...] = ()) -> None:
    if outputs.ndim < 2:
        raise UsageError(
            f"{owner}: `outputs` must have shape (B, K), one logit per class; got"
            f" {tuple(outputs.shape)}. Build the model with `out_features` of the classes."
        )
    if weights and len(weights) != outputs.shape[1]:
        raise UsageError(
            f"{owner}: `weights` must have one entry per class; got {len(weights)}"
            f" for {outputs.shape[1]} outputs. Give one weight per class."
        )
    indices = (outputs.shape[0], *outputs.shape[2:])
    if targets.is_floating_point():
        if targets.shape != outputs.shape:
            raise UsageError(
                f"{owner}: `targets` must be class indices (int64), or probabilities of"
                f" shape {tuple(outputs.shape)}; got {targets.dtype} of shape"
                f" {tuple(targets.shape)}. Convert indices with .long(); numbers take MSE."
            )
    elif targets.shape != indices:
        raise UsageError(
            f"{owner}: `targets` must have shape {indices}; got {tuple(targets.shape)}."
            " Give one class index per example."
        )
