"""Chains from their printed form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...core.errors import UsageError
from ...core.spec import Spec, build, parse
from .._schedules import schedule
from ._base import Chain, Scale, Transform
from ._gradient import Centralize, Clip, ClipNorm, Decay, Noise
from ._moments import MaxMeanSquare, Mean, MeanSquare, SignedSquare, SumOfSquares, Surprise, Trace
from ._ratio import Bounded, Ratio, SignOfMean

TRANSFORMS: Mapping[str, Callable[..., Transform]] = {
    "Bounded": Bounded,
    "Centralize": Centralize,
    "Chain": Chain,
    "Clip": Clip,
    "ClipNorm": ClipNorm,
    "Decay": Decay,
    "MaxMeanSquare": MaxMeanSquare,
    "Mean": Mean,
    "MeanSquare": MeanSquare,
    "Noise": Noise,
    "Ratio": Ratio,
    "Scale": Scale,
    "SignOfMean": SignOfMean,
    "SignedSquare": SignedSquare,
    "SumOfSquares": SumOfSquares,
    "Surprise": Surprise,
    "Trace": Trace,
}


def transform(text: str | Spec | Transform) -> Transform:
    """Build a transform from its printed form, such as ``"Chain(parts=(Trace(), Scale()))"``.

    Args:
        text: The printed form; a transform is given back.

    Raises:
        UnknownName: No transform, schedule or argument of that name.
        UsageError: The text is no spec, or a value does not fit.
    """
    if isinstance(text, Transform):
        return text
    if not isinstance(text, str | Spec):
        raise UsageError(f"transform: `text` must be such as Trace(decay=0.9); got {text!r}.")
    spec = parse(text)
    inner = {
        key: schedule(value) if key == "schedule" and value is not None else _built(value)
        for key, value in spec.kwargs.items()
    }
    built: Transform = build(
        Spec(spec.name, tuple(_built(value) for value in spec.args), inner),
        TRANSFORMS,
        owner="transform",
        what="transform",
    )
    return built


def _built(value: Any) -> Any:
    if isinstance(value, Spec):
        return transform(value)
    if isinstance(value, tuple | list):
        return tuple(_built(item) for item in value)
    return value
