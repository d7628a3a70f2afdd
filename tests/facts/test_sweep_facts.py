"""What a sweep shows of the advice of the course."""

from __future__ import annotations

from pathlib import Path

import torch

import fitwell
from fitwell.train import Run


def test_tune_04_more_flexible_models_lower_the_training_loss_where_the_model_is_the_limit(
    tmp_path: Path,
) -> None:
    """Two classes in opposite quarters: no line parts them, however long it is trained."""
    x = torch.rand(640, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = (x[:, 0] * x[:, 1] > 0).long()
    found = fitwell.sweep(
        (x, y),
        over={"model": ["Linear()", "MLP(hidden=(24,))"], "epochs": [4, 16]},
        method="grid",
        optimizer="Adam(lr=0.02)",
        schedule="Constant()",
        batch_size=32,
        group=tmp_path / "bias",
        report=False,
        quiet=True,
    )
    loss = {
        (row.values["model"], row.values["epochs"]): Run.open(
            tmp_path / "bias/members" / row.member
        ).result["train"]["loss"]
        for trial in found.trials
        for row in trial.rows
    }
    linear, flexible = "Linear", "MLP(hidden=(24,))"
    assert loss[linear, 4] > 0.65  # a coin has log 2
    assert loss[linear, 16] > 0.65  # more steps do not help: it is not the search
    assert loss[flexible, 4] < 0.6 * loss[linear, 16]  # one move does
    assert found.best.values["model"] == flexible
