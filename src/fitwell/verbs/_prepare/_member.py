"""From a session to a member of a population: the same training, beside others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ...train import Member
from .._session import Session


def as_member(
    session: Session,
    observers: Sequence[Any] = (),
    *,
    changed: Callable[[nn.Module], nn.Module] | None = None,
) -> Member:
    """Build the training of a session, so that it can go on together with others.

    Torch's generator is left where the training would begin.

    Args:
        session: What is to be trained.
        observers: Called along the way.
        changed: Given the model with its first weights; gives the one to train. None leaves it.
    """
    chosen = session.run.settings.optimization
    torch.manual_seed(chosen.seed)
    model = session.build_model()
    session.start(model)
    if changed is not None:
        model = changed(model)
    trainer = session.trainer(model, chosen, (), None)
    return Member(
        model=model,
        objective=trainer.objective,
        optimizer=trainer.optimizer,
        train=session.batches(session.splits.train, chosen.batch_size, training=True),
        valid=session.batches(session.splits.valid, max(chosen.batch_size, 256)),
        epochs=chosen.epochs or 1,
        schedule=trainer.schedule,
        grad_clip_norm=chosen.grad_clip_norm,
        precision=chosen.precision,
        seed=torch.get_rng_state(),
        observers=observers,
    )
