"""What a trainer is made of, checked before the first step."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset, IterableDataset

from ..core.errors import UsageError
from ._passes import Precision, needs_closure
from ._torch_schedule import TorchSchedule


def check_parts(model: nn.Module, objective: object, optimizer: Any, schedule: object) -> None:
    """Refuse parts that go into a trainer in another way, or not at all.

    Args:
        model: What it trains.
        objective: What it minimizes.
        optimizer: What changes the parameters.
        schedule: What changes the rates.

    Raises:
        UsageError: The objective is a loss, the optimizer is a class, has none of the model's
            parameters, or the schedule is a scheduler of torch.
    """
    if isinstance(objective, nn.Module):
        name = type(objective).__name__
        raise UsageError(
            f"Trainer: `objective` must take a model and a batch; got {name}, which takes outputs"
            f" and targets. Wrap it: Supervised({name}())."
        )
    if not isinstance(optimizer, Optimizer):
        found = optimizer.__name__ if isinstance(optimizer, type) else type(optimizer).__name__
        raise UsageError(
            f"Trainer: `optimizer` must be an optimizer over the model's parameters; got {found}."
            " Use AdamW(model.parameters(), lr=0.001)."
        )
    own = {id(parameter) for parameter in model.parameters()}
    given = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if own and not own & given:
        raise UsageError(
            "Trainer: `optimizer` must be over parameters of `model`; got one that has none of"
            " them, so that nothing would be learned. Make it from model.parameters()."
        )
    if isinstance(schedule, (LRScheduler, TorchSchedule)):
        raise UsageError(
            "Trainer: `schedule` must be a function of step and total; got a"
            f" {type(schedule).__name__}. Give it as an observer:"
            " observers=[TorchSchedule(scheduler, every='epoch')]."
        )


def check_steps(
    accumulate: int,
    grad_clip_norm: float | None,
    precision: Precision,
    device: torch.device,
    optimizer: Optimizer,
) -> None:
    """Refuse a way of taking steps that cannot work.

    Args:
        accumulate: Batches per step.
        grad_clip_norm: Largest norm of all gradients together.
        precision: Of forward passes.
        device: Where they run.
        optimizer: What takes the steps.

    Raises:
        UsageError: A value is out of range, or the optimizer or device has no fp16.
    """
    if accumulate < 1:
        raise UsageError(f"Trainer: `accumulate` must be at least 1; got {accumulate}.")
    if grad_clip_norm is not None and not grad_clip_norm > 0:
        raise UsageError(
            f"Trainer: `grad_clip_norm` must be positive; got {grad_clip_norm}."
            " Leave it out to not clip."
        )
    if precision == "fp16" and device.type == "cpu":
        raise UsageError(
            "Trainer: `precision` must be float32 or bf16 on a CPU, where fp16 is up to a"
            " hundred times slower; got fp16. Use bf16."
        )
    if precision == "fp16" and needs_closure(optimizer):
        raise UsageError(
            f"Trainer: `precision` must be float32 or bf16 for {type(optimizer).__name__}, which"
            " looks at gradients twice in a step; got fp16. Use bf16."
        )


def check_batches(train: object) -> None:
    """Refuse single examples where batches are wanted.

    Args:
        train: What training iterates over.

    Raises:
        UsageError: It is a data set.
    """
    if isinstance(train, Dataset) and not isinstance(train, IterableDataset):
        raise UsageError(
            "Trainer: `train` must give batches; got a Dataset, which gives single examples. Use a"
            " DataLoader."
        )
