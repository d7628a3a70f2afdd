"""The watch as a callback of other libraries, each imported when its callback is made."""

from __future__ import annotations

import importlib
from typing import Any

from ...core.errors import UsageError
from ._watch import Watch


def lightning_callback(watch: Watch | None = None) -> Any:
    """Give a callback for ``lightning.Trainer(callbacks=[...])``; its `watch` is the watch.

    Where gradients are accumulated, the loss of a step is the mean over its parts. With manual
    optimization, call ``watch.step(loss)`` in the training step instead.

    Args:
        watch: Without a model; one of its own by default.

    Raises:
        UsageError: Lightning is not installed.
    """
    base = _base(("lightning.pytorch", "pytorch_lightning"), "Callback", "lightning_callback")
    seen = Watch() if watch is None else watch

    class WatchCallback(base):  # type: ignore[misc, valid-type]
        """Calls the watch of a Lightning training."""

        def __init__(self) -> None:
            self.watch = seen
            self._steps = 0
            self._loss: Any = None  # of the step so far

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            precision = getattr(trainer, "precision_plugin", None)
            scaler = getattr(precision, "scaler", None)
            seen.bind(pl_module, trainer.optimizers, scaler=scaler)
            self._steps = trainer.global_step
            self._loss = None

        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
            if loss is not None:  # divided by the number of parts of a step already
                part = loss.detach()
                self._loss = part if self._loss is None else self._loss + part
            if trainer.global_step != self._steps:  # not while gradients are accumulated
                self._steps = trainer.global_step
                whole, self._loss = self._loss, None
                seen.step(whole, batch)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            seen.close()

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            seen.close()

    return WatchCallback()


def transformers_callback(watch: Watch | None = None) -> Any:
    """Give a callback for ``transformers.Trainer(callbacks=[...])``; its `watch` is the watch.

    That trainer does not tell its callbacks the loss of a step: the losses of the record are those
    that it logs, one for every ``logging_steps``. The steps of a training that is taken up again
    are counted from there.

    Args:
        watch: Without a model; one of its own by default.

    Raises:
        UsageError: Transformers is not installed.
    """
    base = _base(("transformers",), "TrainerCallback", "transformers_callback")
    seen = Watch() if watch is None else watch

    class WatchCallback(base):  # type: ignore[misc, valid-type]
        """Calls the watch of a Transformers training."""

        def __init__(self) -> None:
            self.watch = seen
            self._before = 0  # steps of the training that is taken up again

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self._before = state.global_step - seen.steps
            seen.bind(kwargs["model"], kwargs["optimizer"])

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.step()

        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any
        ) -> None:
            if logs and "loss" in logs:
                seen.hear_loss(float(logs["loss"]), state.global_step - self._before)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.close()

    return WatchCallback()


def keras_callback(watch: Watch | None = None) -> Any:
    """Give a callback for ``model.fit(callbacks=[...])`` of Keras on torch, with its `watch`.

    Losses are the running means that Keras tells. Its layers are called without torch's hooks, so
    gradients and updates are seen and activations are not, as the notes of the watch say.

    Args:
        watch: Without a model; one of its own by default.

    Raises:
        UsageError: Keras is not installed, or runs on something else than torch.
    """
    base = _base(("keras",), "Callback", "keras_callback", inside="callbacks")
    backend = importlib.import_module("keras").backend.backend()
    if backend != "torch":
        raise UsageError(
            f"keras_callback: `keras` must run on torch; got {backend!r}. Set KERAS_BACKEND=torch"
            " before importing it."
        )
    seen = Watch() if watch is None else watch

    class WatchCallback(base):  # type: ignore[misc, valid-type]
        """Calls the watch of a Keras training."""

        def __init__(self) -> None:
            super().__init__()
            self.watch = seen

        def on_train_begin(self, logs: Any = None) -> None:
            seen.bind(self.model, self.model.optimizer)

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            loss = (logs or {}).get("loss")
            seen.step(None if loss is None else float(loss))

        def on_train_end(self, logs: Any = None) -> None:
            seen.close()

    return WatchCallback()


def _base(modules: tuple[str, ...], name: str, owner: str, inside: str | None = None) -> Any:
    """Give the class of callbacks of the first library that is there."""
    for module in modules:
        try:
            found = importlib.import_module(module)
        except ImportError:
            continue
        return getattr(getattr(found, inside) if inside else found, name)
    wanted = modules[0].partition(".")[0]
    raise UsageError(
        f"{owner}: `{wanted}` must be installed; it is not. Run: pip install {wanted}."
    )
