"""What members answer, alone and together, and how far they agree.

M members, N examples, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, final, get_args

import torch
from torch import Tensor, nn

from ...core.errors import UsageError
from ...core.intervals import wilson_interval
from ...core.runs import LOWER_IS_BETTER
from ...core.significance import rmse_interval
from ...data import Batches, Examples, Schema
from ...report import Paired, pair_answers
from ...tasks import TASKS, SupervisedTask
from ...train import Combine, Run, autocast, combine_outputs, outputs_of
from ...train import evaluate as measure
from .._measure import recognizable
from .._session import pick_device

_DIFFER: Final = 24
"""Examples that are shown because the members disagree on them."""


def check_fits(owner: str, combine: str, schema: Schema | None = None) -> None:
    """Refuse a way to combine that there is not, or that does not fit the target.

    Args:
        owner: The verb.
        combine: What of the outputs is to be averaged.
        schema: Of the data, if it is known already.

    Raises:
        UsageError: It cannot be done.
    """
    if combine not in get_args(Combine):
        raise UsageError(f"{owner}: `combine` must be one of {get_args(Combine)}; got {combine!r}.")
    if combine == "vote" and schema is not None and schema.target_kind == "number":
        raise UsageError(
            f"{owner}: `combine` must be probs or logits when the target is a number, of which the"
            " mean is taken; got vote."
        )


def outputs_on(
    run: Run, examples: Examples, *, device: str | None = None, batch_size: int = 256
) -> Tensor:
    """Give a run's outputs for examples, on the CPU.

    Args:
        run: The run, with its task.
        examples: The examples.
        device: Where to compute; where it was trained if left out.
        batch_size: Examples per forward pass.
    """
    chosen = run.settings.optimization
    place = pick_device(device or chosen.device)
    batches = Batches(examples.to(place), batch_size, device=place)
    with autocast(chosen.precision, place):
        return outputs_of(run.model().to(place), batches)


def scores_of(run: Run, outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """Measure outputs as the run measures its own.

    Losses can be compared only if one run measures all: members may have losses of their own, and
    count numbers in units of the spread of their own training rows.

    Args:
        run: Whose loss and metrics; it need not be trained yet.
        outputs: Of a model, or of several together.
        targets: Classes or numbers.
    """
    task, loss = TASKS[run.manifest["task"]], run.settings.loss.loss
    objective = task.objective(loss, run.schema, run.manifest["scaling"])
    return measure(objective, nn.Identity(), [(outputs, targets.cpu())])


def task_of(run: Run) -> SupervisedTask:
    """Give the task of a run.

    Args:
        run: The run, which was opened with its task.
    """
    return TASKS[run.known_task.name]


def headline_metric(run: Run) -> str:
    """Give the metric that stands for a run: what its epoch is chosen by, in the target's unit.

    Args:
        run: The run.
    """
    metric = run.settings.loss.metric
    return "rmse" if metric == "mse" else metric


def better(metric: str, first: float, second: float) -> bool:
    """Say whether one score is better than another; NaN, that of a failure, is the worst.

    Args:
        metric: What they are of.
        first: The one.
        second: The other.
    """
    if math.isnan(first) or math.isnan(second):
        return not math.isnan(first)
    return first < second if metric in LOWER_IS_BETTER else first > second


def best_of(runs: Mapping[str, Run], scores: Mapping[str, float], metric: str) -> str:
    """Give the member with the best score; of equal ones the first.

    Args:
        runs: The members by name.
        scores: Their scores.
        metric: What the scores are of.
    """
    best = next(iter(runs))
    for name in runs:
        if better(metric, scores[name], scores[best]):
            best = name
    return best


@final
@dataclass(frozen=True, kw_only=True)
class Together:
    """Members alone and together on one part of the data.

    Args:
        part: Name of the part.
        examples: How many it has.
        combine: What of the outputs was averaged.
        metric: The one that stands for them.
        members: Metrics of each member by name; as `scores`, with the loss of the first member.
        scores: Metrics of the members together.
        interval: 95% interval of the headline metric over draws of the examples, if known.
        best: The member that was best on the validation part, which it is compared to.
        paired: The members together against the best one, on the same examples; None if a single
            member has all the weight, or if the best one was chosen on these.
        disagreement: Share of examples on which two members answer differently, on average over
            pairs; of numbers, the spread of the members' answers.
    """

    part: str
    examples: int
    combine: str
    metric: str
    members: Mapping[str, Mapping[str, float]]
    scores: Mapping[str, float]
    interval: tuple[float, float] | None
    best: str
    paired: Paired | None
    disagreement: float

    @property
    def mean(self) -> float:
        """Mean of the members' headline metric."""
        return math.fsum(score[self.metric] for score in self.members.values()) / len(self.members)

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data."""
        fields = {name: value for name, value in vars(self).items() if name != "paired"}
        pair = self.paired
        words = None if pair is None else {**asdict(pair), "words": str(pair)}
        return {**fields, "members": dict(self.members), "mean": self.mean, "paired": words}

    def __str__(self) -> str:
        ends = self.interval
        within = "" if ends is None else f" (95% interval {ends[0]:.4g} to {ends[1]:.4g})"
        alone = self.members[self.best][self.metric]
        lines = [
            f"{self.part:<8} {self.metric} together {self.scores[self.metric]:.4g}{within},"
            f" mean of members {self.mean:.4g}, {self.best} alone {alone:.4g}"
        ]
        if self.paired is not None:
            words = str(self.paired)
            lines.append(f"         {words[0].upper()}{words[1:]}")
        return "\n".join(lines)


def judge(
    runs: Mapping[str, Run],
    outputs: Tensor,
    examples: Examples,
    *,
    part: str,
    combine: Combine,
    weights: Tensor | None = None,
    best: str,
    fair: bool = True,
) -> Together:
    """Measure members alone and together.

    Args:
        runs: The members by name.
        outputs: Theirs for the examples, (M, N, K) or (M, N).
        examples: With targets.
        part: Name of the part.
        combine: What of the outputs is averaged.
        weights: Share of each member; None gives all the same.
        best: The member to compare with.
        fair: Whether it was chosen on other examples; if not, the two are not tested.
    """
    first, targets = next(iter(runs.values())), targets_of(examples)
    metric, by_number = headline_metric(first), first.schema.target_kind == "number"
    together = combine_outputs(outputs, combine=combine, weights=weights, owner="ensemble")
    scores = scores_of(first, together, targets)
    task, schema = first.known_task, first.schema
    answers = task.describe(together, schema).values
    single = task.describe(outputs[list(runs).index(best)], schema).values
    alone = weights is not None and int((weights > 0).sum()) == 1
    return Together(
        part=part,
        examples=len(examples),
        combine=combine,
        metric=metric,
        members={
            name: scores_of(first, own, targets) for name, own in zip(runs, outputs, strict=True)
        },
        scores=scores,
        interval=_interval(metric, scores, answers, targets),
        best=best,
        paired=None
        if alone or not fair
        else pair_answers(
            ("the ensemble", best),
            {"valid": "validation", "data": "new"}.get(part, part),
            target=targets.tolist(),
            first=answers.tolist(),
            second=single.tolist(),
            by_number=by_number,
        ),
        disagreement=disagreement(outputs),
    )


def _interval(
    metric: str, scores: Mapping[str, float], answers: Tensor, targets: Tensor
) -> tuple[float, float] | None:
    if metric == "accuracy":
        return wilson_interval(round(scores["accuracy"] * len(targets)), len(targets))
    if metric == "rmse" and len(targets) > 1:
        return rmse_interval((answers - targets).tolist())
    return None


def disagreement(outputs: Tensor) -> float:
    """Give how far members differ: the share of pairs that answer differently, or the spread.

    Args:
        outputs: Of the members, (M, N, K) or (M, N).
    """
    count = len(outputs)
    if count < 2:
        return 0.0
    if outputs.ndim == 2:
        return float(outputs.double().var(dim=0).mean().sqrt())
    votes = nn.functional.one_hot(outputs.argmax(2), outputs.shape[2]).sum(0).double()
    return float((count**2 - votes.square().sum(1)).mean() / (count * (count - 1)))


def disputed(names: Sequence[str], outputs: Tensor, examples: Examples) -> list[dict[str, Any]]:
    """Describe the examples on which the members differ most, as plain data for the report.

    Args:
        names: Of the members.
        outputs: Theirs for the examples, (M, N, K) or (M, N).
        examples: With targets.
    """
    targets = targets_of(examples)
    if outputs.ndim == 2:
        spread = outputs.double().std(dim=0) if len(outputs) > 1 else torch.zeros(len(targets))
        said = [[format(value, ".5g") for value in member] for member in outputs.tolist()]
        truth = [format(value, ".5g") for value in targets.tolist()]
    else:
        probs = outputs.double().softmax(2)
        mean = probs.mean(0)
        # How much less sure the members are together than each is alone.
        spread = _entropy(mean) - _entropy(probs).mean(0)
        classes = examples.schema.class_names
        said = [[classes[value] for value in member] for member in outputs.argmax(2).tolist()]
        truth = [classes[value] for value in targets.tolist()]
    order = spread.argsort(descending=True, stable=True).tolist()
    order = [place for place in order if len({member[place] for member in said}) > 1][:_DIFFER]
    return [
        {
            **seen,
            "target": truth[place],
            "answers": {name: said[member][place] for member, name in enumerate(names)},
        }
        for place, seen in zip(order, recognizable(examples, order), strict=True)
    ]


def _entropy(probs: Tensor) -> Tensor:
    entropy: Tensor = torch.special.entr(probs).sum(-1)
    return entropy


def targets_of(examples: Examples) -> Tensor:
    """Give the targets on the CPU.

    Args:
        examples: With targets.
    """
    targets = examples.targets
    return torch.empty(0) if targets is None else targets.cpu()
