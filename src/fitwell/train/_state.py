"""What a training depends on besides its settings: saved and put back, to the bit."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch

from ..core.errors import UsageError

if TYPE_CHECKING:
    from ._trainer import Trainer

_NumpyState = tuple[str, npt.NDArray[np.uint32], int, int, float]


def state_of(trainer: Trainer) -> dict[str, Any]:
    """Give the state of a training as tensors and plain data.

    Args:
        trainer: Between two steps.
    """
    batches = getattr(trainer.train_batches, "state_dict", None)
    return {
        "model": trainer.model.state_dict(),
        "average": None if trainer.average is None else trainer.average.state_dict(),
        "optimizer": trainer.optimizer.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "batches": batches() if batches else None,
        "random": random_state(),
        "step": trainer.step,
        "epoch": trainer.epoch,
        "within_epoch": trainer.losses.state_dict(),
        "seconds": trainer.history.seconds,
        "epochs": trainer.history.epochs,
        "observers": {type(o).__name__: o.state_dict() for o in _stateful(trainer)},
    }


def restore_state(trainer: Trainer, state: dict[str, Any], train: Iterable[Any]) -> None:
    """Put a state back.

    Args:
        trainer: Built with the settings of the one that was saved.
        state: What `state_of` gave.
        train: The batches that training will go on with.

    Raises:
        UsageError: The state has an average of the weights and the trainer has none.
    """
    if (state["average"] is None) != (trainer.average is None):
        raise UsageError("Trainer: `average` must be set as it was when the state was saved.")
    trainer.model.load_state_dict(state["model"])
    if trainer.average is not None:
        trainer.average.load_state_dict(state["average"])
    trainer.optimizer.load_state_dict(state["optimizer"])
    trainer.scaler.load_state_dict(state["scaler"])
    if state["batches"] is not None:
        train.load_state_dict(state["batches"])  # type: ignore[attr-defined]
    trainer.step, trainer.epoch = state["step"], state["epoch"]
    trainer.losses.load_state_dict(state["within_epoch"])
    trainer.history.seconds = state["seconds"]
    trainer.history.epochs = list(state["epochs"])
    for observer in _stateful(trainer):
        if type(observer).__name__ in state["observers"]:
            observer.load_state_dict(state["observers"][type(observer).__name__])
    restore_random(state["random"])


def _stateful(trainer: Trainer) -> list[Any]:
    return [observer for observer in trainer.observers if hasattr(observer, "state_dict")]


def random_state() -> dict[str, Any]:
    """Give the states of torch's, Python's and NumPy's global generators, as plain data."""
    name, keys, position, has_gauss, gauss = cast(_NumpyState, np.random.get_state(legacy=True))
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
    }


def restore_random(state: Mapping[str, Any]) -> None:
    """Put the global generators back.

    Args:
        state: What `random_state` gave.
    """
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
