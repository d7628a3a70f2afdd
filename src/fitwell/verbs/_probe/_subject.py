"""A run as what probes take: its models, its loss, its batches, and a way to train it again."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...core.errors import UsageError
from ...core.spec import Spec, parse
from ...data import Batches, Examples, Splits
from ...doctor import Twin
from ...optim import OPTIMIZERS, WRAPPERS
from ...tasks import TASKS, ModelChoice, make_optimizer, optimizer_spec
from ...train import Member, OptimizationSettings, Population, Run, Supervised
from .._checks import check_same_data
from .._open_run import open_run, splits_again
from .._prepare import as_member
from .._session import Session, pick_device
from .._several._pool import as_trained

_ALONE = {"average": "none", "compiled": False, "recompute": False, "patience": None}
"""Settings that a twin does without: they change how a run is trained or kept, not what limits."""


@final
@dataclass(frozen=True)
class Subject:
    """A run, opened for probes; nothing of it is changed.

    Args:
        run: As it was opened.
        session: Of the run, as if it were trained again.
        splits: All its data.
        rows: Examples of a part that probes without a training look at.
        seed: Of the draw of these.
        epochs: Passes of a twin.
        seeds: Trainings of each twin; None leaves it to the probe.
        against: What the training part is compared with.
        watch: Called after each epoch of twins.
    """

    run: Run
    session: Session
    splits: Splits
    rows: int
    seed: int
    epochs: int
    seeds: int | None
    against: str | None
    watch: Callable[[Population], None] | None = None

    @classmethod
    def of(
        cls,
        run: str | Path | Run,
        data: Any = None,
        *,
        owner: str,
        model: ModelChoice | None = None,
        rows: int = 2_000,
        seed: int = 0,
        epochs: int | None = None,
        seeds: int | None = None,
        against: str | None = None,
        device: str | None = None,
    ) -> Subject:
        """Open a run and read its data again.

        Args:
            run: Its folder, or the run itself.
            data: The data again, if it was in memory or is somewhere else now.
            owner: The verb, for messages.
            model: The model again, for a run of your own module.
            rows: Examples of a part that probes without a training look at.
            seed: Of the draw of these.
            epochs: Passes of a twin; None takes those of the run.
            seeds: Trainings of each twin; None leaves it to the probe.
            against: What the training part is compared with.
            device: Where to compute; None where the run was trained.

        Raises:
            RunError: The folder is no run, or its data has changed.
            UsageError: A number is not positive, or data or model of your own were not given again.
        """
        for name, value in (("rows", rows), ("epochs", epochs), ("seeds", seeds)):
            if value is not None and value < 1:
                raise UsageError(f"{owner}: `{name}` must be at least 1; got {value}.")
        opened = open_run(run, model=model)
        if opened.settings.model.own and opened.own_model is None:
            opened.model()  # raises with the remedy
        splits = as_trained(opened, splits_again(opened, data, owner=owner))
        check_same_data(opened, splits)
        chosen = opened.settings.optimization
        session = Session(
            run=opened,
            task=TASKS[opened.manifest["task"]],
            splits=splits,
            choice=opened.own_model if opened.settings.model.own else opened.settings.model.spec,
            quiet=True,
        ).with_settings(device=pick_device(device or chosen.device), workers=1)
        return cls(
            opened, session, splits, rows, seed, epochs or _epochs(opened, splits), seeds, against
        )

    @property
    def chosen(self) -> OptimizationSettings:
        """How it was trained."""
        return self.session.run.settings.optimization

    @property
    def device(self) -> str:
        """Where it is looked at."""
        return self.chosen.device

    @property
    def loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of outputs and targets, without what a teacher or a penalty adds."""
        run = self.run
        objective = self.session.task.objective(
            run.settings.loss.loss, self.splits.schema, run.manifest["scaling"]
        )
        return objective.loss

    def trained(self) -> nn.Module:
        """Give the model with the weights that were kept."""
        return self.run.model().to(self.device)

    def first(self) -> nn.Module:
        """Give the model with its first weights."""
        torch.manual_seed(self.chosen.seed)
        model = self.session.build_model()
        self.session.start(model)
        return model

    def optimizer(self, model: nn.Module) -> Optimizer:
        """Give the optimizer of the run, over a model.

        Args:
            model: The model.
        """
        return make_optimizer(self.chosen.optimizer, model, self.chosen.layer_decay)

    def part(self, name: str) -> Examples:
        """Give a part of the data, or some rows of a large one.

        Args:
            name: Of the part.

        Raises:
            UsageError: There is none.
        """
        examples = self.splits.parts().get(name)
        if examples is None:
            raise UsageError(
                f"probe: `against` must be a part of the data, {' or '.join(self.splits.parts())},"
                f" or a file; got {name!r}."
            )
        return self._fewer(examples, self.rows)

    def other(self) -> Examples:
        """Give what the training part is compared with: a part, or new data."""
        name = self.against or "valid"
        if name in ("train", "valid", "test") or not Path(name).exists():
            return self.part(name)
        return self._fewer(self.run.read(name), self.rows)

    def _fewer(self, examples: Examples, rows: int) -> Examples:
        if len(examples) <= rows:
            return examples
        chosen = np.random.default_rng(self.seed).choice(len(examples), rows, replace=False)
        return examples.select(torch.from_numpy(np.sort(chosen)))

    def batches(self, name: str, most: int | None = None) -> Batches:
        """Give batches of a part, as large as in training, without augmentation.

        Args:
            name: Of the part.
            most: Examples at most, for what is slow.
        """
        examples = self.part(name)
        return Batches(
            self._fewer(examples, most or len(examples)).to(self.device),
            self.chosen.batch_size,
            shuffle=name == "train",
            seed=self.seed,
            device=self.device,
        )

    def build(self, twin: Twin, seed: int) -> Member:
        """Build the training of the run, or of a twin of it.

        Args:
            twin: What is different.
            seed: Of the training; 0 is that of the run.
        """
        chosen = self.chosen
        spec, rate, decay = _optimizer(chosen.optimizer)
        changes: dict[str, Any] = {
            **_ALONE,
            "optimizer": str(_with(spec, lr=twin.lr(rate))),
            "batch_size": twin.batch_size(chosen.batch_size * chosen.accumulate),
            "accumulate": 1,
            "epochs": twin.epochs(self.epochs),
            "max_steps": None,
            "augment": twin.augment(None if chosen.augment == "none" else chosen.augment) or "none",
            "seed": chosen.seed + seed,
        }
        if decay is not None:
            both = {"lr": twin.lr(rate), "weight_decay": twin.weight_decay(decay)}
            changes["optimizer"] = str(_with(spec, **both))
        session = self.session.with_settings(**changes)
        splits = replace(self.splits, train=twin.examples(self.splits.train))
        member = as_member(replace(session, splits=splits), changed=twin.model)
        if isinstance(member.objective, Supervised):
            member.objective = replace(member.objective, loss=twin.loss(member.objective.loss))
        return member


def _epochs(run: Run, splits: Splits) -> int:
    """Give the passes that a run took, or is to take."""
    chosen = run.settings.optimization
    taken = run.result.get("epochs") or chosen.epochs
    if taken:
        return int(taken)
    steps = math.ceil(len(splits.train) / (chosen.batch_size * chosen.accumulate))
    return math.ceil((chosen.max_steps or steps) / steps)


def _optimizer(text: str) -> tuple[Spec, float, float | None]:
    """Give the printed form of an optimizer with its rate and weight decay, if it has one."""
    spec = optimizer_spec(text)
    inner = spec
    while inner.name in WRAPPERS:
        inner = parse(inner.kwargs["optimizer"])
    known = inspect.signature(OPTIMIZERS[inner.name]).parameters

    def value(name: str) -> Any:
        return inner.kwargs.get(name, known[name].default)

    decay = float(value("weight_decay")) if "weight_decay" in known else None
    return spec, float(value("lr")), decay


def _with(spec: Spec, **changes: float) -> Spec:
    """Change arguments of the innermost optimizer."""
    if spec.name in WRAPPERS:
        return spec.but(optimizer=_with(parse(spec.kwargs["optimizer"]), **changes))
    return spec.but(**changes)
