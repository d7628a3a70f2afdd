"""From what was kept to plain data, and to the headline of each number."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ._looks import Looks
from ._parameters import noise_scale
from ._sampler import Sampler

Column = Sequence[float | None]

_CLIPPED = 1.001  # norm before clipping over that after it
_ROUNDING = 1e-6


def record_of(
    *,
    steps: int,
    losses: dict[str, Any],
    looks: Looks,
    structure: dict[str, Any],
    label_counts: Tensor | None,
    sampler: Sampler,
    **rest: Any,
) -> dict[str, Any]:
    """Give all that was seen as plain data.

    Args:
        steps: Steps taken.
        losses: The curve.
        looks: Numbers of each look.
        structure: Who owns which parameter.
        label_counts: By class, over all looks.
        sampler: Knows the cost.
        rest: Plain data that goes in as it is.
    """
    columns = looks.columns()
    one = {name: columns.get(name, {}).get("", {}) for name in _SINGLE}
    targets: dict[str, Any] = dict(one["targets"])
    if label_counts is not None:
        targets["counts"] = [int(count) for count in label_counts.tolist()]
    return {
        "steps": steps,
        "loss": losses,
        "looks": {"step": list(looks.steps), **one["look"]},
        "seconds": one["seconds"],
        "inputs": one["inputs"],
        "outputs": one["outputs"],
        "targets": targets,
        "parameters": columns.get("parameters", {}),
        "modules": columns.get("modules", {}),
        "normalization": columns.get("normalization", {}),
        "structure": structure,
        **rest,
        "cost": {
            "budget": sampler.budget,
            "share": sampler.share,
            "seconds": sampler.spent,
            "seconds_per_look": sampler.cost,
        },
    }


_SINGLE = ("look", "seconds", "inputs", "outputs", "targets")


def known(column: Column | None) -> list[float]:
    """Give the numbers of a column that were seen.

    Args:
        column: One number per look.
    """
    return [value for value in column or () if value is not None]


def summary_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give the headlines of a record.

    Args:
        record: From `record_of`.
    """
    looks, loss = _stepped(record["looks"]), record["loss"]
    return {
        "steps": record["steps"],
        "looks": len(looks["step"]),
        "first_loss": _first(loss["loss"]),
        "last_loss": _last(loss["loss"]),
        "gradient_norm": _median(looks.get("gradient_norm")),
        "largest_gradient_norm": max(known(looks.get("gradient_norm")), default=None),
        "first_to_last_gradient": _across(record["parameters"]),
        "clipped": _clipped(looks),
        "carried": _carried(looks),
        "update_ratio": _median(_ratios(looks.get("update_norm"), looks.get("weight_norm"))),
        "gradient_cosine": _median(looks.get("gradient_cosine")),
        "update_cosine": _median(looks.get("update_cosine")),
        "noise_scale": _noise(record, looks),
        "first_lr": _first(known(looks.get("lr"))),
        "last_lr": _last(known(looks.get("lr"))),
        "data_share": data_share(record["seconds"]),
        "without_step": _without_step(looks.get("optimizer_steps")),
        "eval_mode": {n: c / max(len(looks["step"]), 1) for n, c in record["in_eval"].items()},
        **_still(record["parameters"]),
        **record["structure"],
        "dead": _latest(record["modules"], "always_dead"),
        "saturated": _latest(record["modules"], "saturated"),
        "nonfinite": _nonfinite(record),
        "label_entropy": _median(record["targets"].get("entropy")),
        "label_repeats": _median(record["targets"].get("repeats")),
        "cost": record["cost"]["share"],
        "notes": list(record["notes"]),
    }


def _first(values: Sequence[float]) -> float | None:
    return values[0] if values else None


def _last(values: Sequence[float]) -> float | None:
    return values[-1] if values else None


def _median(column: Column | None) -> float | None:
    seen = [value for value in known(column) if not math.isnan(value)]
    return statistics.median(seen) if seen else None


def _ratios(top: Column | None, bottom: Column | None) -> list[float | None]:
    pairs = zip(top or (), bottom or (), strict=False)
    return [None if a is None or not b else a / b for a, b in pairs]


def _across(parameters: Mapping[str, Any]) -> float | None:
    """Divide the gradient of the first weights by that of the last ones, at the first look."""
    norms = [known(p.get("gradient_norm")) for n, p in parameters.items() if "bias" not in n]
    seen = [column[0] for column in norms if column]
    return seen[0] / seen[-1] if len(seen) > 1 and seen[-1] else None


def _without_step(counts: Column | None) -> int | None:
    """Count looks at which no optimizer took a step; None where that cannot be seen."""
    return None if counts is None else sum(count == 0 for count in known(counts))


def _stepped(looks: Mapping[str, Column]) -> dict[str, Column]:
    """Leave out what looks saw of steps that a scaler skipped, as it does at its start."""
    skipped = looks.get("skipped") or ()
    if not any(skipped):
        return dict(looks)
    return {
        name: column
        if name == "step"
        else [None if skip else v for v, skip in zip(column, skipped, strict=True)]
        for name, column in looks.items()
    }


def _clipped(looks: Mapping[str, Column]) -> float | None:
    ratios = known(_ratios(looks.get("gradient_norm_unclipped"), looks.get("gradient_norm")))
    return sum(r > _CLIPPED for r in ratios) / len(ratios) if ratios else None


def _carried(looks: Mapping[str, Column]) -> float | None:
    """Give the largest share that an old gradient had of the one that was stepped with."""
    shares = known(_ratios(looks.get("carried_norm"), looks.get("gradient_norm_unclipped")))
    return max(shares, default=None)


def _noise(record: Mapping[str, Any], looks: Mapping[str, Column]) -> dict[str, Any] | None:
    examples, passes = _median(record["inputs"].get("examples")), _median(looks.get("passes"))
    if not examples or not passes:
        return None
    value, method = None, "successive gradients"
    if passes > 1:
        method = "micro-batches"
        pairs = zip(looks["micro_norm"], looks["gradient_norm_unclipped"], strict=True)
        both = [(a, b) for a, b in pairs if a is not None and b is not None]
        small, large = [(passes * a) ** 2 for a, _ in both], [b**2 for _, b in both]
        value = noise_scale(small, large, examples, passes * examples)
    else:
        names = ("gradient_dot", "gradient_first", "gradient_second")
        dots, firsts, seconds = (known(looks.get(name)) for name in names)
        small = [(a**2 + b**2) / 2 for a, b in zip(firsts, seconds, strict=True)]
        large = [(d + s) / 2 for d, s in zip(dots, small, strict=True)]
        value = noise_scale(small, large, examples, 2 * examples)
    return None if value is None else {"examples": value, "method": method}


def data_share(seconds: Mapping[str, Column]) -> float | None:
    """Give the share of the time before the forward pass, in which data is waited for.

    Args:
        seconds: Columns of the record.
    """
    if "wait" not in seconds:
        return None
    pairs = zip(seconds["wait"], seconds["all"], strict=True)
    both = [(wait, whole) for wait, whole in pairs if wait is not None and whole]
    return statistics.median(wait / whole for wait, whole in both) if both else None


def _still(parameters: Mapping[str, Any]) -> dict[str, list[str]]:
    """Name parameters without gradient, and those that stay where they are though they have one."""
    gradients = {name: known(p.get("gradient_norm")) for name, p in parameters.items()}
    moved = {name: known(p.get("moved")) for name, p in parameters.items()}
    finite = {name: [v for v in seen if math.isfinite(v)] for name, seen in gradients.items()}
    largest = max((value for seen in finite.values() for value in seen), default=0.0)
    # A bias before a normalization has a gradient of rounding errors alone.
    pushed = {n for n, seen in finite.items() if any(v > _ROUNDING * largest for v in seen)}
    return {
        "no_gradient": [name for name, seen in gradients.items() if not seen],
        "zero_gradient": [name for name, seen in gradients.items() if seen and not any(seen)],
        "unmoved": [name for name in gradients if name in pushed and not any(moved[name])],
    }


def _latest(modules: Mapping[str, Any], field: str) -> dict[str, float]:
    columns = {name: known(found.get(field)) for name, found in modules.items()}
    return {name: column[-1] for name, column in columns.items() if column}


def _nonfinite(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Say where numbers first stopped being finite: the step of the loss, and at which look."""
    found: dict[str, Any] = {}
    if record["loss"]["first_nonfinite"] is not None:
        found["loss_step"] = record["loss"]["first_nonfinite"]
    ill = [name for name, finite in record["ill_batch"].items() if not finite]
    if ill:
        found["batch"] = ill
    weights = record["looks"].get("weights_finite")
    for number, step in enumerate(record["looks"]["step"]):
        inputs = _at(record["inputs"].get("finite"), number) != 0
        ready = _at(weights, number) != 0
        wrong = [n for n, m in record["modules"].items() if _at(m.get("finite"), number) == 0]
        if inputs and ready and not wrong:
            continue
        found |= {"look_step": step, "inputs": not inputs, "weights_finite": ready}
        # Weights that a step before has made ill tell nothing of the layer that began it.
        found["module"] = wrong[0] if wrong and ready else None
        if found["module"] is not None:
            before = record["modules"][wrong[0]].get("input_finite")
            found["module_input_finite"] = _at(before, number) != 0
        break
    return found or None


def _at(column: Iterable[float | None] | None, number: int) -> float | None:
    values = list(column or ())
    return values[number] if number < len(values) else None
