"""The watch: two lines in any loop."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self, final

from torch import Tensor, nn

from ...core.errors import UsageError
from ._account import Account
from ._batches import input_statistics, split_batch
from ._hooks import Hooks
from ._listening import Heard, Listening
from ._look import Look, operations
from ._looks import Looks
from ._losses import Losses
from ._memory import Memory
from ._notes import Notes
from ._optimizers import bare, rate_of, scaler_of
from ._parameters import ownership
from ._reading import record_of, summary_of
from ._sampler import Sampler
from ._stall import MARGIN, SHARE, Stall, stall_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ...train import Trainer

_CLOCK: Callable[[], float] = time.perf_counter


@final
class Watch:
    """Collect what tells whether a training goes well, at a fixed small share of its time.

    For any PyTorch loop; it concludes nothing. Between looks a step costs the reading of a clock
    at most, and keeping its loss. At a look, hooks are there for one step and see gradients,
    updates, activations, normalization, inputs, labels and modes; of the step after it they see
    directions and times. How often it looks follows from what a look costs. Training stays as it
    is: weights, buffers, optimizer state and random numbers are the same to the bit with a watch
    and without.

    Not covered: what happens inside a compiled model, of which gradients, updates and losses are
    seen all the same; sharded parameters; graphs of CUDA. `notes` says what was not seen.

    Args:
        model: What is trained; None takes that of the trainer whose observer this is.
        optimizer: What steps it, or several.
        loss_fn: The loss function of the loop; of a module, targets are seen as it gets them.
        budget: Share of the time of training to spend on looking.
        every: Steps from look to look, whatever that costs; None keeps to the budget.
        scaler: The `GradScaler` of the loop, so that gradients before clipping have their size and
            the steps that it skips are known; None takes that of the optimizer, if it has one.

    Raises:
        UsageError: `budget` or `every` is out of range, or `model` or `optimizer` is missing.

    Source: schneider2021cockpit; mccandlish2018empirical.
    Differs: it sees what autograd gives anyway, no second derivatives and no gradients of single
        examples, so that any module can be watched.
    Checked against: each number by brute force; training without it, to the bit.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        optimizer: Any = None,
        loss_fn: Any = None,
        *,
        budget: float = 0.01,
        every: int | None = None,
        scaler: Any = None,
    ) -> None:
        if not 0 < budget <= 1:
            raise UsageError(
                f"watch: `budget` must be a share above 0; got {budget}. Leave it out for a"
                " hundredth of the time."
            )
        if every is not None and every < 1:
            raise UsageError(
                f"watch: `every` must be at least 1; got {every}. Leave it out to keep to the"
                " budget."
            )
        if (model is None) != (optimizer is None):
            raise UsageError(
                "watch: `model` and `optimizer` must be given together; got one. Give both, or"
                " neither to an observer of a Trainer."
            )
        self.steps = 0
        self.model: nn.Module | None = None
        self._loss_fn = loss_fn
        self._given_scaler = self._scaler = scaler
        self._sampler = Sampler(budget, every)
        self._losses = Losses()
        self._looks = Looks()
        self._notes = Notes()
        self._ill_batch: dict[str, float] = {}
        self._memory: Memory | None = None
        self._optimizers: Sequence[Any] = ()
        self._look: Look | None = None
        self._pair: Look | None = None
        self._hooks: list[Hooks] = []
        weakref.finalize(self, _remove, self._hooks).atexit = False
        self._listening: Listening | None = None
        self._heard = Heard()
        self._account = Account(self._sampler, _CLOCK)
        self._rests = self._rested = 0  # steps that are not counted one by one
        if model is not None:
            self.bind(model, optimizer)

    def __repr__(self) -> str:
        seen = f"{self.steps} steps, {len(self._looks)} looks"
        return f"Watch({type(self.model).__name__}, {seen})"

    def bind(
        self, model: nn.Module, optimizer: Any, *, compiled: bool = False, scaler: Any = None
    ) -> None:
        """Begin to watch; for those who know the model later than the watch.

        Args:
            model: What is trained.
            optimizer: What steps it, or several.
            compiled: The model runs compiled, though it is not the compiled one that is given.
            scaler: The `GradScaler`, unless one was given at the start.
        """
        if not isinstance(model, nn.Module):
            raise UsageError(
                f"watch: `model` must be a torch.nn.Module; got {model!r}. Give the network, and of"
                " several ones, as in a GAN, nn.ModuleList([...]) or each a watch of its own."
            )
        several = isinstance(optimizer, Iterable)
        optimizers = list(optimizer) if several else [optimizer]
        unseen = self._look is not None and self._look.full
        self.close()
        self.model = model
        self._optimizers = [bare(one) for one in optimizers]
        known = (self._given_scaler, scaler, scaler_of(optimizers))
        self._scaler = next((one for one in known if one is not None), None)
        self._memory = Memory(
            model, self._optimizers, self._loss_fn, self._notes.add, compiled=compiled
        )
        if unseen or self._sampler.due():
            self._arm(full=True)
        self._account.skip()

    @property
    def notes(self) -> list[str]:
        """What could not be seen, and why."""
        return self._notes.texts()

    def step(self, loss: Tensor | float | None = None, batch: Any = None) -> None:
        """Take in a step; to be called after ``optimizer.step()``.

        Args:
            loss: Of the step; None if it is not known.
            batch: What the step was taken on; nothing of it is kept. A pair of inputs and targets
                tells the targets where no loss module does.
        """
        self._hear(loss, batch, loss)

    def _hear(self, loss: Tensor | float | None, batch: Any, source: Any) -> None:
        """Take in a step; between looks most of them in as little time as it takes."""
        if self._rested < self._rests and self._losses.put_aside(loss):
            self._rested += 1
            self.steps += 1
        else:
            self._take(loss, batch, source)

    def _take(self, loss: Tensor | float | None, batch: Any, source: Any) -> None:
        """Take in a step, with the tensor whose graph tells what the loss is made of."""
        look, steps, self._rests, self._rested = self._look, self._rested + 1, 0, 0
        entered = self._account.enter(steps, look.hooks.seconds if look else 0.0)
        if self._memory is None:
            raise UsageError(
                "watch: `model` must be known before the first step. Give it, or bind."
            )
        if isinstance(loss, Tensor) and loss.numel() != 1:
            raise UsageError(
                f"watch: `loss` must be one number; got {tuple(loss.shape)}. Give its mean."
            )
        self.steps += 1
        if self._losses.add(loss):
            self._ill(batch)
        elif self._losses.full:
            self._read_late()
        if look is not None:
            self._finish(look, source, batch, entered)
        if self._look is None and self._sampler.due():
            self._arm(full=True)
        if look is None and self._look is None:
            self._rests = self._account.leave(entered)
            return
        over = self._look is None or (look is not None and self._look.full)
        self._account.leave_look(entered, look.hooks.seconds if look else 0.0, over=over)

    def hear_loss(self, loss: float, step: int) -> None:
        """Take in a loss that comes later, and seldom; for those who do not know it at each step.

        Args:
            loss: The mean over the steps since the last one that was heard.
            step: Up to which it goes.
        """
        self._losses.add_mean(loss, step)

    def _ill(self, batch: Any) -> None:
        """Look at the batch of the first loss that is not finite, and at the next step."""
        self._sampler.urgent = True
        inputs, targets = split_batch(batch)
        with self._notes.harmless("the batch of a loss that is not finite was not seen"):
            for name, value in (("inputs", inputs), ("targets", targets)):
                finite = input_statistics(value).get("finite")
                if finite is not None:
                    self._ill_batch[name] = float(finite)

    def _read_late(self) -> None:
        """Read losses that are on a device."""
        with self._notes.harmless("losses were lost"):
            if self._losses.flush():
                self._sampler.urgent = True
                self._notes.add(
                    "a loss that is not finite was read too late to see where it began, as losses"
                    " on a GPU are: NaNGuard of fitwell.doctor names the layer"
                )

    def _settle(self) -> None:
        self._account.settle(self._rested)
        self._rests = self._rested = 0

    def _arm(self, *, full: bool) -> None:
        if self._memory is None:
            return
        with self._notes.harmless("a look was not possible"):
            look = Look(self._memory, self._account.clock, full=full, scaler=self._scaler)
            self._look = look
            self._hooks[:] = [look.hooks]
            look.attach()

    def _finish(self, look: Look, source: Any, batch: Any, now: float) -> None:
        self._look = None
        with self._notes.harmless("a look was lost"):
            look.finish(self._account.left, now, batch)
            if look.full and look.given_up:
                return
            if look.full:
                if isinstance(source, Tensor) and source.grad_fn is not None:
                    look.memory.operations["loss"] = operations(source)
                rate = rate_of(self._optimizers)
                if rate is not None:
                    look.put("look", "", {"lr": rate})
                self._pair = look
                self._arm(full=False)
                return
            first, self._pair = self._pair, None
            if first is not None:
                first.join(look)
                self._looks.add(self.steps - 1, first.values)

    def close(self) -> None:
        """Take away all hooks; what was seen stays."""
        self._settle()
        for look in (self._look, self._pair):
            if look is not None:
                look.hooks.remove()
        if self._pair is not None:  # its second step never came
            self._looks.add(self.steps, self._pair.values)
        self._look = self._pair = None
        if self._listening is not None:
            self._listening.stop()
            self._listening = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def record(self) -> dict[str, Any]:
        """Give everything that was seen, as plain data; this waits for the device once."""
        memory = self._memory
        return record_of(
            steps=self.steps,
            losses=self._losses.curve() | {"first_nonfinite": self._losses.first_nonfinite},
            looks=self._looks,
            structure={} if memory is None else ownership(memory.inner, self._optimizers),
            operations={} if memory is None else dict(memory.operations),
            in_eval={} if memory is None else dict(memory.in_eval),
            label_counts=None if memory is None else memory.labels.counts,
            ill_batch=dict(self._ill_batch),
            sampler=self._sampler,
            notes=self.notes,
        )

    def summary(self) -> dict[str, Any]:
        """Give the headline of each number in the record."""
        return summary_of(self.record())

    def stuck(self, *, share: float = SHARE, margin: float = MARGIN) -> Stall:
        """Say whether the training is stuck, and whether that is at a critical point at all.

        When the loss does not fall any more. A flat loss is not a small gradient: it may jump from
        wall to wall of a valley, where a lower rate helps and where a look at the curvature
        (`critical_point`) would mislead.

        Args:
            share: Of the steps so far, that are judged; they should have five looks at least.
            margin: A fall by less than this, over the range of all losses or their size, is none.

        Raises:
            UsageError: A share is out of range.

        Source: mccandlish2018empirical.
        Checked against: a planted ravine, minimum, plateau and noise floor; the cosine of noisy
            steps in a valley in closed form.
        """
        if not (0 < share <= 1 and margin > 0):
            raise UsageError(
                "watch: `share` must lie in (0, 1] and `margin` above 0; got"
                f" {share} and {margin}. Leave them out for the second half and 2 %."
            )
        return stall_of(self.record(), share, margin)

    def figure(self) -> Figure:
        """Draw the record: loss, gradients, updates, directions, layers and time."""
        from ._figure import draw

        return draw(self.record())

    def on_fit_start(self, trainer: Trainer) -> None:
        """Begin with a trainer's model and listen to its objective.

        Args:
            trainer: At the start.
        """
        scaler = trainer.scaler if trainer.precision == "fp16" else None
        compiled = hasattr(trainer._forward, "_orig_mod")
        if compiled or scaler or self.model is None or self._look is None:
            self.bind(trainer.model, trainer.optimizer, compiled=compiled, scaler=scaler)
        self._heard = Heard()
        self._listening = Listening(trainer, self._heard.add)

    def on_step(self, trainer: Trainer) -> None:
        """Take in a step of a trainer.

        Args:
            trainer: After a step.
        """
        if self._listening is not None:
            self._hear(*self._heard.taken())

    def on_epoch(self, trainer: Trainer) -> None:
        """Leave the time of measuring out of the time of steps.

        Args:
            trainer: At the end of an epoch.
        """
        self._settle()
        self._account.skip()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Take away all hooks.

        Args:
            trainer: At the end.
        """
        self.close()


def watch(
    model: nn.Module | None = None,
    optimizer: Any = None,
    loss_fn: Any = None,
    *,
    budget: float = 0.01,
    every: int | None = None,
    scaler: Any = None,
) -> Watch:
    """Watch a training of your own: this line before the loop, and ``watch.step(loss)`` in it.

    Args:
        model: What is trained; None as an observer of `Trainer`, which knows it.
        optimizer: What steps it, or several.
        loss_fn: The loss function of the loop; of a module, targets are seen as it gets them.
        budget: Share of the time of training to spend on looking.
        every: Steps from look to look, whatever that costs; None keeps to the budget.
        scaler: The `GradScaler` of the loop, if there is one.
    """
    return Watch(model, optimizer, loss_fn, budget=budget, every=every, scaler=scaler)


def _remove(hooks: list[Hooks]) -> None:
    """Take away what is left when nobody holds the watch any more."""
    for one in hooks:
        one.remove()
