"""Test-time augmentation: outputs averaged over several views of each example.

V views with the plain one, B batch, N examples, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from .._objective import outputs_of
from ._combine import Combine, check_combine, combine_outputs


def outputs_of_views(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    augment: Callable[[Tensor, torch.Generator], Tensor],
    views: int,
    seed: int = 0,
    plain_weight: float | None = None,
    combine: Combine = "logits",
) -> Tensor:
    """Give a model's outputs for all examples in their order, averaged over random views of each.

    For images whose class does not change with small shifts or a mirror: the errors of single views
    partly cancel, at the cost of a forward pass for each. Choose `plain_weight` on the validation
    part. The outputs stay logits whatever is averaged: of probabilities and votes, the logarithm.
    The same seed and batches give the same views, and more views begin with those of fewer.

        z̄ = w f(x) + (1 - w)/V' · (f(x₁) + ... + f(x_V'))      w = plain_weight, V' = views

    Args:
        model: The model.
        batches: The examples, in batches whose first part is the inputs, not augmented.
        augment: Changes a whole batch of inputs, drawing from the generator it is given.
        views: Random views besides the plain one; 0 gives the plain outputs.
        seed: Of the views.
        plain_weight: Weight of the plain view in 0 ... 1, the others share the rest; None gives all
            the same.
        combine: Whether logits, probabilities or the votes of the views are averaged; numbers are
            averaged as they are, under ``logits``. Of classes with the same share of votes, the
            one with the larger mean probability wins.

    Shapes:
        return: (N, K)

    Raises:
        UsageError: A value is out of range, or there are no classes to vote for.

    Source: krizhevsky2012imagenet, section 4.1.
    Differs: random views with weights, in place of ten fixed ones.
    Reduces to: `outputs_of` at `views=0` or `plain_weight=1`.
    Checked against: means over fixed views written out.
    """
    check_views("outputs_of_views", views, plain_weight, combine)
    if views == 0:
        return outputs_of(model, batches)
    plain = 1 / (views + 1) if plain_weight is None else plain_weight
    weights = torch.tensor([plain, *[(1 - plain) / views] * views])
    generators: list[torch.Generator] = []
    combined = []
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                inputs = batch[0]
                if not generators:
                    seeds = (seed + 1_000_003 * number for number in range(1, views + 1))
                    generators = [torch.Generator(inputs.device).manual_seed(s) for s in seeds]
                seen = (inputs, *(augment(inputs, generator) for generator in generators))
                outputs = torch.stack([model(view).float().cpu() for view in seen])
                combined.append(
                    combine_outputs(
                        outputs, combine=combine, weights=weights, owner="outputs_of_views"
                    )
                )
    finally:
        model.train(was_training)
    return torch.cat(combined)


def check_views(owner: str, views: int, plain_weight: float | None, combine: Combine) -> None:
    """Refuse numbers of views, weights and ways to combine that are out of range.

    Args:
        owner: Who asks, for messages.
        views: Random views besides the plain one.
        plain_weight: Weight of the plain view.
        combine: What is averaged.

    Raises:
        UsageError: A value is out of range.
    """
    if views < 0:
        raise UsageError(f"{owner}: `views` must not be negative; got {views}.")
    if plain_weight is not None and not 0 <= plain_weight <= 1:
        raise UsageError(
            f"{owner}: `plain_weight` must lie in 0 ... 1; got {plain_weight}. Use 0.5"
            " for as much as all other views together."
        )
    check_combine(owner, combine)
