"""A run as what probes take: its models, its loss, its batches, and a way to train it again."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ...core.errors import UsageError
from ...data import Batches, Examples, Splits
from ...doctor import Twin
from ...tasks import TASKS, ModelChoice, make_optimizer
from ...train import Member, OptimizationSettings, Population, Run
from .._open_run import open_run
from .._prepare import as_member
from .._session import Session, pick_device
from .._several._pool import own_splits
from ._again import (
    changed_settings,
    check_again,
    differences,
    epochs_of,
    held_on,
    step_size,
    with_loss,
)

_PARTS: Final = ("train", "valid", "test")


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
        owner: The verb, for messages.
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
    owner: str
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
        splits = own_splits(opened, data, owner=owner)
        chosen = opened.settings.optimization
        session = Session(
            run=opened,
            task=TASKS[opened.manifest["task"]],
            splits=splits,
            choice=opened.own_model if opened.settings.model.own else opened.settings.model.spec,
            quiet=True,
        ).with_settings(device=pick_device(device or chosen.device), workers=1)
        return cls(
            run=opened,
            session=session,
            splits=splits,
            rows=rows,
            seed=seed,
            epochs=epochs or epochs_of(opened, splits),
            seeds=seeds,
            against=against,
            owner=owner,
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

    @property
    def step_size(self) -> int:
        """Examples of a step of the run, in all its processes."""
        return step_size(self.run)

    @property
    def is_module(self) -> bool:
        """Whether its model was given ready made, and has no other weights than it has now."""
        return isinstance(self.session.choice, nn.Module)

    def trained(self) -> nn.Module:
        """Give the model with the weights that were kept."""
        run = self.run
        if isinstance(run.own_model, nn.Module):  # it is the user's, and stays as it is
            run = copy.copy(run)
            run.own_model = copy.deepcopy(self.run.own_model)
        return run.model().to(self.device)

    def untrained(self) -> nn.Module:
        """Give the model as it is built: with first weights, or those that a module has now."""
        torch.manual_seed(self.chosen.seed)
        choice = copy.deepcopy(self.session.choice) if self.is_module else self.session.choice
        return replace(self.session, choice=choice).build_model()

    def first(self) -> nn.Module:
        """Give the model with its first weights.

        Raises:
            UsageError: It was given as a module, whose first weights are not known.
        """
        self._check_first()
        model = self.untrained()
        self.session.start(model)
        return model

    def _check_first(self) -> None:
        if self.is_module:
            raise UsageError(
                f"{self.owner}: `model` must make the model anew where first weights are needed;"
                " got a module, whose weights now are all that it has. Give a function that makes"
                " the model."
            )

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
        return self._fewer(self._whole(name), self.rows)

    def _whole(self, name: str) -> Examples:
        parts = self.splits.parts()
        if name not in parts:
            raise UsageError(
                f"{self.owner}: the run must have a part {name!r} for this; {self.run.folder} has"
                f" {' and '.join(parts)} alone. Name a file of new data."
            )
        return parts[name]

    def other(self) -> Examples:
        """Give what the training part is compared with: a part, or new data.

        Raises:
            UsageError: There is no such part or file.
        """
        name = self.against or "valid"
        if name in _PARTS:
            return self.part(name)
        if not Path(name).exists():
            raise UsageError(
                f"{self.owner}: `against` must be a part of the data,"
                f" {' or '.join(self.splits.parts())}, or a file that is there; got {name!r}."
            )
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

    def all_batches(self, name: str) -> Batches:
        """Give batches of a whole part in its order, without augmentation.

        Args:
            name: Of the part.
        """
        return self.session.batches(self._whole(name), self.chosen.batch_size)

    def build(self, twin: Twin, seed: int) -> Member:
        """Build the training of the run, or of a twin of it.

        Args:
            twin: What is different.
            seed: Of the training; 0 is that of the run.

        Raises:
            UsageError: The run cannot be trained again beside others, or its model not be made
                anew.
        """
        self._check_first()
        check_again(self.run, self.owner)
        session = self.session.with_settings(
            **changed_settings(
                twin, self.chosen, batch_size=self.step_size, epochs=self.epochs, seed=seed
            )
        )
        splits = replace(self.splits, train=twin.examples(self.splits.train))
        member = as_member(replace(session, splits=splits), changed=twin.model)
        member.objective = with_loss(member.objective, twin)
        return member

    def notes(self, probe: str) -> tuple[str, ...]:
        """Say what to know about twins of this run.

        Args:
            probe: Name of the probe that trains them.
        """
        more = held_on(self.run) if probe == "regularization" else ()
        return (*differences(self.run, self.splits, self.epochs), *more)
