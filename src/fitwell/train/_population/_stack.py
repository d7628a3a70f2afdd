"""Members trained as one program, and a member trained alone, behind the same methods."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn

from ...optim import frozen_statistics
from .._objective import Measured, WeightedMean, batch_length
from .._passes import autocast, backward, clip_norm, take_step
from ._convolutions import Conv
from ._feed import Feed, Joined
from ._fold import own_noise
from ._layers import BatchNorm, Each, stack
from ._losses import per_member
from ._member import Member
from ._rows import Rows, set_rates


class Unit(Protocol):
    """Members that are trained at once."""

    members: list[Member]

    def run_epoch(self) -> None:
        """Train each member for an epoch and measure it."""
        ...

    def release(self) -> None:
        """Leave models and optimizers to themselves."""
        ...


@final
class Alone:
    """One member, trained as a `Trainer` does.

    Args:
        member: The member.
    """

    def __init__(self, member: Member) -> None:
        self.members = [member]

    def run_epoch(self) -> None:
        """Train for an epoch and measure."""
        (member,) = self.members
        begun = time.perf_counter()
        losses, counts = [], []
        with own_noise(member.noise):
            member.model.train()
            for batch in member.train:
                losses.append(self.step(batch))
                counts.append(batch_length(batch))
            seconds = time.perf_counter() - begun
            measured = {}
            if member.valid is not None:
                measured = member.evaluate(member.valid)
        member.record_epoch(torch.stack(losses).tolist(), counts, measured, seconds)
        member.after_epoch()

    def step(self, batch: Any) -> Tensor:
        """Take a step; give its loss.

        Args:
            batch: What the member's batches give.
        """
        (member,) = self.members
        set_rates(member)
        loss = self.gradients(batch)
        self._clip()
        take_step(member.optimizer, lambda: self._again(batch))
        member.optimizer.zero_grad()
        member.step += 1
        return loss

    def gradients(self, batch: Any) -> Tensor:
        """Leave the gradients of a batch; give its loss.

        Args:
            batch: What the member's batches give.
        """
        (member,) = self.members
        with autocast(member.precision, member.device):
            loss, _ = member.objective(member.model, batch)
        backward(loss)
        return loss.detach()

    def _clip(self) -> None:
        (member,) = self.members
        if member.grad_clip_norm is not None:
            clip_norm(member.optimizer, member.grad_clip_norm)

    def _again(self, batch: Any) -> Tensor:
        """Leave the gradients of a step where the optimizer has moved the weights for a look."""
        with frozen_statistics(self.members[0].model):
            loss = self.gradients(batch)
        self._clip()
        return loss

    def release(self) -> None:
        """Nothing is shared."""


@final
class Stack:
    """Members of one architecture, trained as one program.

    Args:
        members: With `Supervised` objectives.
        idle: Names of parameters that get no gradient.
    """

    def __init__(self, members: Sequence[Member], idle: Collection[str] = ()) -> None:
        self.members = list(members)
        self._precision = members[0].precision
        self._device = members[0].device
        self.rows = Rows(members, idle)
        self.module: nn.Module = nn.Identity()
        try:
            models = [member.model for member in members]
            noise = [member.noise for member in members]
            self.module, self.fold = stack(models, self.rows.leaves, noise)
            self._feed = Feed(members, self.fold)
            objectives: list[Any] = [member.objective for member in members]
            self._loss = per_member([objective.loss for objective in objectives], self.fold)
        except BaseException:
            self.release(keep=False)
            raise

    def use(self, ways: Mapping[str, Any]) -> None:
        """Do convolutions in the ways that were found fastest.

        Args:
            ways: By the name of the convolution.
        """
        for name, module in self.module.named_modules():
            if isinstance(module, Conv) and name in ways:
                module.way = ways[name]

    def run_epoch(self) -> None:
        """Train all members for an epoch and measure them."""
        begun = time.perf_counter()
        self.rows.heed_settings()
        losses, counts = self._train()
        seconds = (time.perf_counter() - begun) / len(self.members)
        measured = self._measure()
        by_member = torch.stack(losses, dim=1).tolist()
        self.rows.tell_rates()
        for k, member in enumerate(self.members):
            member.record_epoch(by_member[k], [c[k] for c in counts], measured[k], seconds)
        for member in self.members:
            member.after_epoch()

    def _train(self) -> tuple[list[Tensor], list[list[int]]]:
        self.module.train()
        losses, counts = [], []
        for batch in self._feed:
            losses.append(self.step(batch))
            counts.append(self._counts(batch))
        return losses, counts

    def _counts(self, batch: Joined | Sequence[Any]) -> list[int]:
        if isinstance(batch, Joined):
            return [batch.size] * len(self.members)
        return [batch_length(each) for each in batch]

    def step(self, batch: Joined | Sequence[Any]) -> Tensor:
        """Take a step of all members; give their losses, (K,).

        Args:
            batch: From `Feed`.
        """
        losses = self.gradients(batch)
        self.rows.step()
        for member in self.members:
            member.step += 1
        return losses

    def gradients(self, batch: Joined | Sequence[Any]) -> Tensor:
        """Leave the gradients of all members in their rows; give the losses.

        Args:
            batch: From `Feed`.
        """
        self.rows.zero()
        if not isinstance(batch, Joined):
            return self._one_by_one(batch)
        with autocast(self._precision, self._device):
            losses = self._loss(self.module(batch.inputs), batch.targets)
        backward(losses.sum())
        return losses.detach()

    def _one_by_one(self, batches: Sequence[Any]) -> Tensor:
        """Compute gradients through the members' own modules, whose parameters are their rows."""
        losses = []
        for member, batch in zip(self.members, batches, strict=True):
            with own_noise(member.noise), autocast(self._precision, self._device):
                member.model.train()
                loss, _ = member.objective(member.model, batch)
            backward(loss)
            losses.append(loss.detach())
        return torch.stack(losses)

    def _measure(self) -> list[dict[str, float]]:
        if (
            len({_count(member.valid) for member in self.members}) > 1
            or self.members[0].valid is None
        ):
            return [self._measure_alone(member) for member in self.members]
        self.module.eval()
        objectives: list[Any] = [member.objective for member in self.members]
        found = [
            Measured(WeightedMean(), o.metrics(self._device) if o.metrics is not None else None)
            for o in objectives
        ]
        batches: Any = zip(*(member.valid for member in self.members), strict=True)
        with torch.no_grad(), autocast(self._precision, self._device), _evaluating(self.members):
            for each in batches:
                alike = all(batch[0].shape == each[0][0].shape for batch in each)
                outputs = self._outputs(each) if alike else self._outputs_one_by_one(each)
                for one, objective, (_, targets), out in zip(
                    found, objectives, each, outputs, strict=True
                ):
                    one.loss.add(objective.loss(out, targets), len(targets))
                    if one.metrics is not None:
                        one.metrics.update(out.float(), targets)
        return [one.compute() for one in found]

    def outputs(self, batch: Joined) -> Tensor:
        """Give what the members answer, (K, B, ...), without gradients.

        Args:
            batch: Of all.
        """
        with torch.no_grad(), autocast(self._precision, self._device):
            return self.fold.open(self.module(batch.inputs))

    def _outputs(self, batches: Sequence[Any]) -> list[Tensor]:
        joined = self.fold.join([batch[0] for batch in batches])
        return list(self.fold.open(self.module(joined)).unbind())

    def _outputs_one_by_one(self, batches: Sequence[Any]) -> list[Tensor]:
        return [m.model(batch[0]) for m, batch in zip(self.members, batches, strict=True)]

    def _measure_alone(self, member: Member) -> dict[str, float]:
        return {} if member.valid is None else member.evaluate(member.valid)

    @property
    def has_strangers(self) -> bool:
        """Whether some modules have no stacked form and run as they are."""
        return any(isinstance(module, Each) for module in self.module.modules())

    def release(self, *, keep: bool = True) -> None:
        """Give models and optimizers their own memory back.

        Args:
            keep: With all that was learned; else the parameters and optimizers as they were.
        """
        self.rows.release(keep=keep)
        for module in self.module.modules():
            if isinstance(module, BatchNorm):
                module.release(keep=keep)


@contextlib.contextmanager
def _evaluating(members: Sequence[Member]) -> Iterator[None]:
    for member in members:
        member.model.eval()
    try:
        yield
    finally:
        for member in members:
            member.model.train()


def _count(batches: Any) -> int:
    """Give the number of batches, or one that no other has where it is not known."""
    try:
        return len(batches)
    except TypeError:
        return -id(batches)
