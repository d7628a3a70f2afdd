"""What a run's validation part says about its confidence: ``calibration.npz``.

A temperature, and how strange the right classes looked, from which sets of classes for any error
rate follow without the validation part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor

from ..core.errors import RunError
from ..core.files import atomic_path
from ..metrics import (
    Conformal,
    Temperature,
    calibration,
    conformal_scores,
    fit_temperature,
    score_sets,
)
from ..train import Run

_FILE: Final = "calibration.npz"
_ALPHA: Final = 0.1  # of the sets that the report tells about


@final
@dataclass(frozen=True)
class Confidence:
    """How far a run's model can be believed.

    Args:
        temperature: What its logits are divided by.
        scores: How strange the right classes of the validation part looked, sorted.
    """

    temperature: Temperature
    scores: Tensor

    def rule(self, alpha: float) -> Conformal:
        """Give what makes sets of classes.

        Args:
            alpha: Share of examples whose set may miss the right class.
        """
        return Conformal.from_scores(self.scores, alpha=alpha)

    def sets(self, logits: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
        """Give which classes are in the set of each example, and how probable its first one is.

        Args:
            logits: Of the model; (N, K).
            alpha: Share of examples whose set may miss the right class.
        """
        probs = self.temperature.probs(logits)
        return self.rule(alpha).sets(probs), probs.amax(dim=1)

    def record(self, logits: Tensor, targets: Tensor) -> dict[str, Any]:
        """Measure it on examples that it is not from, as plain data for the report.

        Args:
            logits: Of the model.
            targets: Right classes.
        """
        probs, rule = self.temperature.probs(logits), self.rule(_ALPHA)
        before, after = (
            torch.nn.functional.cross_entropy(logits.double() / value, targets).item()
            for value in (1.0, self.temperature.value)
        )
        return {
            "scaled": calibration(probs, targets).to_dict(),
            "temperature": {
                "value": self.temperature.value,
                "fitted_on": self.temperature.count,
                "loss_before": before,
                "loss_after": after,
            },
            "conformal": {
                "alpha": rule.alpha,
                "threshold": rule.to_dict()["threshold"],
                "fitted_on": rule.count,
                **score_sets(rule.sets(probs), targets).to_dict(),
            },
        }


def fit_confidence(logits: Tensor, targets: Tensor) -> Confidence | None:
    """Learn it from the validation part; None if the outputs are not all numbers.

    Args:
        logits: Of the kept model.
        targets: Right classes.
    """
    if not bool(logits.isfinite().all()):
        return None
    temperature = fit_temperature(logits, targets)
    scores = conformal_scores(temperature.probs(logits), targets)
    return Confidence(temperature, scores.sort().values)


def save_confidence(run: Run, confidence: Confidence) -> None:
    """Write it to the run.

    Args:
        run: The run.
        confidence: What was learned.
    """
    with atomic_path(run.folder / _FILE) as path, path.open("wb") as file:
        np.savez(file, scores=confidence.scores.numpy(), **confidence.temperature.to_dict())


def read_confidence(run: Run) -> Confidence:
    """Read what `save_confidence` wrote.

    Args:
        run: The run.

    Raises:
        RunError: The run has none.
    """
    path = run.folder / _FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
        scores = torch.from_numpy(found.pop("scores"))
        count = int(found.pop("count"))
        temperature = Temperature(count=count, **{k: float(v) for k, v in found.items()})
    except FileNotFoundError as err:
        raise RunError(
            f"{run.folder}: has no {path.name}, which a finished training of classes writes and"
            " sets of classes need. Finish it with 'fitwell resume', or train it again."
        ) from err
    except (ValueError, KeyError, TypeError, OSError) as err:
        raise RunError(f"{path}: is damaged ({err}). Train the run again.") from err
    return Confidence(temperature, scores)
