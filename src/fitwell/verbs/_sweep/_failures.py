"""Members that cannot be trained: which of those that train together they are, and why."""

from __future__ import annotations

import torch

from ...core.errors import FitwellError
from ...train import Member, Population
from .._session import Session


def reason_of(err: BaseException) -> str:
    """Give what went wrong in a line.

    Args:
        err: As it was raised.
    """
    text = " ".join(str(err).split())
    if isinstance(err, FitwellError):
        return text.removeprefix("train: ")
    return f"{type(err).__name__}: {text}"


def try_alone(session: Session) -> str | None:
    """Train a member for one batch, keeping nothing, and say what went wrong if it did.

    Args:
        session: The member.
    """
    chosen, parts = session.run.settings.optimization, session.splits
    try:
        torch.manual_seed(chosen.seed)
        model = session.build_model()
        trainer = session.trainer(model, chosen, (), None)
        first, measured = (
            next(iter(session.batches(part, size, training=training)))
            for part, size, training in (
                (parts.train, chosen.batch_size, True),
                (parts.valid, max(chosen.batch_size, 256), False),
            )
        )
        member = Member(
            model=model,
            objective=trainer.objective,
            optimizer=trainer.optimizer,
            train=[first],
            valid=[measured],
            grad_clip_norm=chosen.grad_clip_norm,
            precision=chosen.precision,
        )
        Population([member], stack=1).fit()
    except Exception as err:  # whatever it is, it is the member's
        return reason_of(err)
    return None
