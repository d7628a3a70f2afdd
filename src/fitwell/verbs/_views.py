"""Test-time augmentation of a run: which views, and what they gain over the plain one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, final

from torch import Tensor, nn

from ..core.errors import UsageError
from ..data import Batches, Chain, augmentation, suited_augment
from ..report import Paired, pair_answers
from ..train import Combine, Objective, Run, check_views, outputs_of, outputs_of_views
from ..train import evaluate as measure

_WORDS = {"valid": "validation", "data": "new"}


@final
@dataclass(frozen=True, kw_only=True)
class ViewGain:
    """What views change on a part.

    Args:
        scores: Metrics with views.
        paired: Answers with views against those without; None for numbers that are not finite.
    """

    scores: Mapping[str, float]
    paired: Paired | None

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data."""
        found = self.paired
        paired = None if found is None else {**asdict(found), "words": str(found)}
        return {"scores": dict(self.scores), "paired": paired}


@final
@dataclass(frozen=True, kw_only=True)
class Views:
    """The views of each example; their seed is that of the run.

    Args:
        augment: Makes a random view.
        count: Views besides the plain one.
        plain_weight: Weight of the plain view; None for that of each other.
        combine: What is averaged.
        seed: Of the views.
    """

    augment: Chain
    count: int
    plain_weight: float | None
    combine: Combine
    seed: int

    @classmethod
    def of(
        cls,
        owner: str,
        run: Run,
        views: int,
        augment: str | None,
        plain_weight: float | None,
        combine: Combine,
    ) -> Self | None:
        """Settle the views of a run; None if there are none.

        Args:
            owner: The verb, for messages.
            run: Whose augmentation is taken if none is given.
            views: Views besides the plain one.
            augment: Printed form of the augmentations; None for those of the training.
            plain_weight: Weight of the plain view.
            combine: What is averaged.

        Raises:
            UsageError: There is nothing to augment by, or a value does not fit.
        """
        check_views(owner, views, plain_weight, combine)
        if views == 0:
            given = {"augment": augment, "plain_weight": plain_weight}
            for name, value in given.items():
                if value is not None:
                    raise UsageError(
                        f"{owner}: `views` must be positive to use `{name}`; got 0. Add --views 8."
                    )
            return None
        shape = run.schema.input_shape
        if len(shape) != 3:
            raise UsageError(
                f"{owner}: `views` must be left out for inputs of shape {shape}, which are no"
                f" images; got {views}."
            )
        if combine != "logits" and run.schema.target_kind == "number":
            raise UsageError(
                f"{owner}: `combine` must be logits when the target is a number, whose mean is"
                f" taken as it is; got {combine}."
            )
        optimization = run.settings.optimization
        text = optimization.augment if augment is None else suited_augment(augment, run.schema)
        chain = augmentation(text)
        if chain is None or all(step.mixes for step in chain.steps):
            raise UsageError(
                f"{owner}: `augment` must name how views differ; the run was trained with"
                f" {optimization.augment}, got {augment or 'nothing'}. Add --augment 'Crop()'."
            )
        return cls(
            augment=chain,
            count=views,
            plain_weight=plain_weight,
            combine=combine,
            seed=optimization.seed,
        )

    def outputs(self, model: nn.Module, batches: Batches) -> Tensor:
        """Give the outputs averaged over the views.

        Args:
            model: The model.
            batches: The examples.
        """
        return outputs_of_views(
            model,
            batches,
            augment=self.augment,
            views=self.count,
            seed=self.seed,
            plain_weight=self.plain_weight,
            combine=self.combine,
        )

    def gain(self, run: Run, model: nn.Module, part: str, batches: Batches) -> ViewGain:
        """Measure what the views gain on a part.

        Args:
            run: The run.
            model: Its model.
            part: Name of the part.
            batches: Its examples, with targets.
        """
        task, schema = run.known_task, run.schema
        targets = batches.examples.targets
        if targets is None:
            raise UsageError("evaluate: `data` must hold targets; got none.")
        targets = targets.cpu()
        objective: Objective = task.objective(
            run.settings.loss.loss, schema, run.manifest["scaling"]
        )
        averaged = self.outputs(model, batches)
        with_views = task.describe(averaged, schema).values
        without = task.describe(outputs_of(model, batches), schema).values
        paired = pair_answers(
            (f"the mean of {self.count + 1} views", "the plain view"),
            _WORDS.get(part, part),
            target=targets.tolist(),
            first=with_views.tolist(),
            second=without.tolist(),
            by_number=schema.target_kind == "number",
        )
        scores = measure(objective, nn.Identity(), [(averaged, targets)])
        return ViewGain(scores=scores, paired=paired)
