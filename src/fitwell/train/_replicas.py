"""Data-parallel training: copies of the model in several processes, each on its share of a batch.

Bytes are carried by ``torch.distributed``: gloo between processors, NCCL between GPUs. Start the
processes with ``torchrun``, or let `fitwell train --workers N` do it.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast, final

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from ..core.errors import FitwellError, TrainingError, UsageError
from ..core.processes import launched
from ._objective import batch_length, measure

if TYPE_CHECKING:
    from ._trainer import Trainer

_SEED_LIMIT = 2**63
# How long processes wait for one that decodes images or measures for all. That one has ended is
# noticed at once, by its closed connection.
_PATIENCE = datetime.timedelta(hours=12)
_T = TypeVar("_T")


@final
@dataclass(frozen=True)
class World:
    """The processes that train together, and which of them this one is.

    Args:
        rank: Number of this process, from 0.
        size: How many there are.
        local_rank: Number of this process on its machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def shard(self) -> tuple[int, int]:
        """This process and their number, for `fitwell.data.Batches`."""
        return self.rank, self.size

    @property
    def leads(self) -> bool:
        """Whether this process writes, shows progress and decides."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Give this process's own GPU where ``cuda`` is asked for.

        Args:
            name: Device of the training.

        Raises:
            UsageError: There are fewer GPUs than processes, or one GPU is meant for all.
        """
        if self.size == 1 or not name.startswith("cuda"):
            return name
        there = torch.cuda.device_count()
        if name != "cuda" or self.local_rank >= there:
            raise UsageError(
                f"train: `workers` must not be more than the GPUs they are to use, {there}; got"
                f" process {self.local_rank + 1} of {self.size} on {name!r}. Use fewer, or --device"
                " cpu."
            )
        torch.cuda.set_device(self.local_rank)
        return f"cuda:{self.local_rank}"

    def by_leader(self, action: Callable[[], _T]) -> _T:
        """Let the first process do something, and give what came of it to all.

        Args:
            action: Gives something that can be sent, or raises.
        """
        value, error = _attempt(action) if self.leads else (None, None)
        value, error = self._told((value, error))
        if error is not None:
            raise error
        return cast(_T, value)

    def after_leader(self, action: Callable[[], _T]) -> _T:
        """Do something in all processes, but in the first alone to begin with.

        For what leaves something behind that the others find done, such as decoded images.

        Args:
            action: If it raises in the first process, it is not tried in the others.
        """
        value, error = _attempt(action) if self.leads else (None, None)
        error = self._told(error)
        if error is not None:
            raise error
        return cast(_T, value) if self.leads else action()

    def _told(self, value: Any) -> Any:
        """Give every process the value of the first."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


def _attempt(action: Callable[[], _T]) -> tuple[_T | None, Exception | None]:
    try:
        return action(), None
    except Exception as err:
        return None, err


ALONE = World()


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """Join the processes that ``torchrun`` started, and leave them at the end.

    Without such processes the world is this one alone. A process group that exists already is used
    and left as it is.
    """
    if distributed.is_available() and distributed.is_initialized():
        yield _world()
        return
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or "MASTER_ADDR" not in os.environ:
        yield ALONE
        return
    carriers = "cuda:nccl,cpu:gloo" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(carriers, timeout=_PATIENCE)
    try:
        with lost_process():
            yield _world()
    except FitwellError as err:
        err.told = err.told or not _first_to_tell(str(err))
        raise
    finally:
        distributed.destroy_process_group()


def _first_to_tell(message: str) -> bool:
    """Tell whether no other process has the same message for the user."""
    try:
        store = distributed.distributed_c10d._get_default_store()
        key = hashlib.sha256(message.encode()).hexdigest()
        return int(store.add(f"fitwell/told/{key}", 1)) == 1
    except (RuntimeError, ValueError):  # whoever kept the store is gone
        return True


@contextlib.contextmanager
def lost_process() -> Iterator[None]:
    """Say in one sentence that another process has ended, where torch says how it noticed.

    Raises:
        TrainingError: A process was lost.
    """
    try:
        yield
    except RuntimeError as err:
        if not (isinstance(err, distributed.DistError) or "gloo" in str(err)):
            raise
        lost = TrainingError(
            f"Trainer: one of the {distributed.get_world_size()} processes that train together was"
            " lost, so all of them end. A run goes on from its newest checkpoint: fitwell resume"
        )
        lost.told = launched()
        raise lost from err


def _world() -> World:
    rank, size = distributed.get_rank(), distributed.get_world_size()
    return World(rank, size, int(os.environ.get("LOCAL_RANK", rank)))


@final
class Replicas:
    """Equal copies of a model, one per process, that learn from each other's gradients.

    Give it to `Trainer`, and to each process its share of every batch: `Batches` with
    ``shard=world.shard``, or a loader with a ``DistributedSampler``. The gradient is that of the
    mean loss over all shares, so that training equals that of one process on the whole batches, but
    for

    - batch normalization, whose statistics are those of the first process's share;
    - dropout and augmentation, whose draws differ from process to process.

    Every parameter that learns must take part in every step: freeze those that do not.

        g = Σᵣ (nᵣ / n) ∇ lossᵣ      nᵣ examples in the share of process r, n in all

    Args:
        world: From `joined`.

    Source: dean2012large.
    Reduces to: plain training in a world of one process.
    Checked against: one process on the whole batches, with even and uneven shares.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._seed = torch.initial_seed()
        self._wish: str | None = None
        self._module: DistributedDataParallel | None = None

    def wrap(self, model: nn.Module) -> nn.Module:
        """Give the module that forward passes go through; all copies start as the first one.

        Args:
            model: This process's copy.
        """
        # Filters of size 1 have strides that torch cannot tell from those it expects.
        warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        try:
            distributed.all_reduce(torch.zeros(1))
        except RuntimeError as err:
            raise UsageError(
                "Replicas: `world` must carry numbers of the CPU too; its process group does not"
                f" ({err}). Make it with init_process_group('cuda:nccl,cpu:gloo')."
            ) from err
        self._module = DistributedDataParallel(model)
        return self._module

    def gradients(self, trainer: Trainer, group: list[Any]) -> tuple[Tensor, int]:
        """Leave the gradients of one step, equal in all processes; give its loss and its examples.

        Args:
            trainer: At a step.
            group: Shares of the batches of the step.
        """
        # Draws depend on process and step alone, so that one process can save for all.
        mixed = self._seed + 1_000_003 * (trainer.step + 1) + 7_919 * self.world.rank
        torch.manual_seed(mixed % _SEED_LIMIT)
        wholes = [self._whole(share) for share in group]
        count = sum(wholes)
        total = torch.zeros((), device=trainer.device)
        for number, share in enumerate(group, start=1):
            with contextlib.ExitStack() as stack:
                if number < len(group):  # gradients travel once per step
                    stack.enter_context(self._module.no_sync())  # type: ignore[union-attr]
                with trainer.autocast():
                    loss, _ = trainer.objective(self._module, share)  # type: ignore[arg-type]
                term = loss * (_own(share) / count)
                trainer.backward(term * self.world.size)  # the copies' gradients are averaged
            total += term.detach()
        distributed.all_reduce(total)
        return total, count

    def _whole(self, share: Any) -> int:
        whole: int = getattr(share, "whole", batch_length(share) * self.world.size)
        return whole

    def wish(self, reason: str | None) -> None:
        """Ask all processes to end training.

        Args:
            reason: Why; None takes the wish back.
        """
        self._wish = reason

    def agreed_wish(self) -> str | None:
        """Give the reason to end of the first process that has one; the same answer in all."""
        wished = torch.tensor(int(self._wish is not None))
        distributed.all_reduce(wished, distributed.ReduceOp.MAX)
        if not wished:
            return None
        reasons: list[str | None] = [None] * self.world.size
        distributed.all_gather_object(reasons, self._wish)
        return next(reason for reason in reasons if reason is not None)

    def evaluate(self, trainer: Trainer, batches: Iterable[Any]) -> dict[str, float]:
        """Measure the model, each process on its shares; the same numbers in all.

        Args:
            trainer: Whose model.
            batches: Shares of the examples, or all of them.
        """
        for buffer in trainer.measured_model.buffers():  # those of the copy that is kept
            distributed.broadcast(buffer, src=0)
        mine = (batch for batch in batches if _own(batch))
        with trainer.autocast():
            measured = measure(trainer.objective, trainer.measured_model, mine)
        parts: list[Any] = [None] * self.world.size
        distributed.all_gather_object(parts, measured)
        for other in parts[1:]:
            parts[0].merge(other)
        numbers: dict[str, float] = parts[0].compute()
        return numbers


def _own(share: Any) -> int:
    own: int = getattr(share, "own", batch_length(share))
    return own
