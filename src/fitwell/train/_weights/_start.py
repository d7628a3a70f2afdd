"""Start from weights that were trained before."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from ...core.errors import RunError, UsageError
from ...core.runs import is_run
from ...nn import Unscale
from .._checkpoints import load_weights
from .._run import Run
from .._stored import newest_compatible
from ._freezing import fits

_SHOWN = 6
_WRAPPERS = ("module.", "_orig_mod.")
"""What wrappers of torch put before names: data parallel and averaged models, compiled ones."""
_INSIDE = ("state_dict", "model_state_dict", "model")
"""Where other programs keep the weights within a file."""


@final
@dataclass(frozen=True, kw_only=True)
class StartWeights:
    """What a model took over from weights that were there before.

    Args:
        source: Where they were.
        loaded: Names of the model that were filled.
        left_out: Why each other name of the model or of the weights was not, by name.
    """

    source: str
    loaded: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        words = f"{len(self.loaded)} tensors from {self.source}"
        if not self.left_out:
            return words
        shown = [f"{name} ({why})" for name, why in list(self.left_out.items())[:_SHOWN]]
        more = len(self.left_out) - len(shown)
        return f"{words}; left out {', '.join(shown)}" + (f" and {more} more" if more else "")


def load_start_weights(
    model: nn.Module, source: str | Path, *, leave_out: Sequence[str] = ()
) -> StartWeights:
    """Load what fits into a model, by name and shape, and say what was left out.

    The scaling of inputs is loaded with the rest, since the weights were trained behind it; that of
    targets is not, since it belongs to the new data. Names may have what wrappers of torch put
    before them, and lack or have the ``body.`` that a run's model puts before its own.

    Args:
        model: Just built.
        source: A run, a folder of runs (the newest weights of the same shapes), a safetensors file,
            or a file of torch that holds tensors alone; code in it is never run.
        leave_out: Patterns of names that are not loaded although they fit, such as a head for other
            classes.

    Raises:
        RunError: There are no weights, or the file is damaged.
        UsageError: No parameter fits.

    Source: yosinski2014how, section 2.
    Checked against: the outputs of the model that the weights are from.
    """
    weights = _renamed(_read(model, Path(source)), model)
    targets = model.state_dict()
    ours = {
        f"{path}.{name}".lstrip(".")
        for path, module in model.named_modules()
        if isinstance(module, Unscale)
        for name in module.state_dict()
    }
    left_out: dict[str, str] = {}
    fitting: dict[str, Tensor] = {}
    for name in dict.fromkeys((*targets, *weights)):
        if name not in weights:
            left_out[name] = "not in the weights"
        elif name not in targets:
            left_out[name] = "not in the model"
        elif weights[name].shape != targets[name].shape:
            shapes = tuple(weights[name].shape), tuple(targets[name].shape)
            left_out[name] = f"{shapes[0]} in the weights, {shapes[1]} in the model"
        elif name in ours:
            left_out[name] = "the scaling of the targets is that of the new data"
        elif any(fits(name, pattern) for pattern in leave_out):
            left_out[name] = "as asked"
        else:
            fitting[name] = weights[name]
    if not any(name in fitting for name, _ in model.named_parameters()):
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left_out.items())[:3])
        raise UsageError(
            f"load_start_weights: `source` must hold weights of such a model; nothing in {source}"
            f" fits ({reasons}). Build the model that the weights are from."
        )
    model.load_state_dict(fitting, strict=False)
    return StartWeights(source=str(source), loaded=tuple(fitting), left_out=left_out)


def _read(model: nn.Module, source: Path) -> Mapping[str, Tensor]:
    if is_run(source):
        return Run.open(source).load_model()
    if source.is_dir():
        stored = newest_compatible(source, model)
        if stored is None:
            raise RunError(
                f"{source}: holds no run with weights of the same names and shapes. Name a run"
                " to load what fits of it."
            )
        return load_weights(stored.file)
    if source.suffix == ".safetensors" or not source.exists():
        return load_weights(source)
    try:
        found: Any = torch.load(source, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as err:
        raise RunError(
            f"{source}: is damaged, or holds code, which is never run. Save the tensors alone:"
            " torch.save(model.state_dict(), path)."
        ) from err
    while isinstance(found, Mapping) and (inner := next(_nested(found), None)) is not None:
        found = inner
    if not isinstance(found, Mapping) or not any(isinstance(v, Tensor) for v in found.values()):
        raise RunError(f"{source}: holds no weights by name. Save model.state_dict().")
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def _nested(found: Mapping[Any, Any]) -> Iterator[Mapping[Any, Any]]:
    yield from (found[name] for name in _INSIDE if isinstance(found.get(name), Mapping))


def _renamed(weights: Mapping[str, Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """Give the weights under the names of the model, whichever of some forms fits most."""
    wanted = model.state_dict().keys()
    plain = dict(weights)
    for wrapper in _WRAPPERS:
        if plain and any(name.startswith(wrapper) for name in plain):
            plain = {name.removeprefix(wrapper): value for name, value in plain.items()}
    forms = (
        weights,
        plain,
        {f"body.{name}": value for name, value in plain.items()},
        {name.removeprefix("body."): value for name, value in plain.items()},
    )
    return max(forms, key=lambda form: len(wanted & form.keys()))
