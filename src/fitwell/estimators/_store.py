"""A fitted estimator as one safetensors file: tensors, and the rest as JSON in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from .. import __version__
from ..core.errors import RunError
from ..core.files import atomic_path, finite

FORMAT = 1
_ENTRY = "fitwell.estimator"


@final
@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a file holds.

    Args:
        kind: Name of the estimator's class.
        params: Arguments of its constructor that can be written.
        spec: Printed form of the model; None if it is the user's own.
        model_name: What the user's own model is called.
        schema: Of the training data, as plain data.
        scaling: What the task measured on it.
        fitted: Attributes that fitting set, as plain data.
    """

    kind: str
    params: Mapping[str, Any]
    spec: str | None
    model_name: str
    schema: Mapping[str, Any]
    scaling: Mapping[str, Any]
    fitted: Mapping[str, Any]


def write_estimator(path: str | Path, stored: Stored, weights: Mapping[str, Tensor]) -> None:
    """Write the file whole or not at all.

    Args:
        path: The file.
        stored: All but the weights.
        weights: Tensors that share no memory.
    """
    from safetensors.torch import save_file

    content = {"format": FORMAT, "fitwell": __version__, **vars(stored)}
    with atomic_path(path) as temporary:
        save_file(dict(weights), temporary, {_ENTRY: json.dumps(finite(content))})


def read_estimator(path: str | Path, kind: str) -> tuple[Stored, dict[str, Tensor]]:
    """Read a file back; nothing in it is executed.

    Args:
        path: The file.
        kind: Name of the estimator's class that it must hold.

    Raises:
        RunError: The file is missing, damaged, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            content = json.loads((file.metadata() or {}).get(_ENTRY, "null"))
            weights = {name: file.get_tensor(name) for name in file.keys()}
    except FileNotFoundError as err:
        raise RunError(f"{path}: the file is missing. Check the path.") from err
    except (SafetensorError, OSError, ValueError) as err:
        raise RunError(f"{path}: cannot be read ({err}). Restore it from a copy.") from err
    if not isinstance(content, dict):
        raise RunError(f"{path}: is not an estimator of fitwell. Save one with `save`.")
    version, found = content.pop("fitwell", "?"), content.get("kind")
    if content.pop("format", None) != FORMAT:
        raise RunError(f"{path}: has another format. Use fitwell {version}, which wrote it.")
    if found != kind:
        raise RunError(f"{path}: holds a {found}, not a {kind}. Use fitwell.{found}.load.")
    return Stored(**content), weights


def plain(value: Any) -> Any:
    """Give a constructor's argument as JSON has it; None for what JSON has no form for.

    Args:
        value: The argument.
    """
    if isinstance(value, Mapping):
        return {"pairs": [[plain(key), plain(item)] for key, item in value.items()]}
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, (str, int, float)) else None


def restored(value: Any) -> Any:
    """Give an argument back from what `plain` made of it.

    Args:
        value: From the file.
    """
    return dict(value["pairs"]) if isinstance(value, dict) else value


def plain_classes(classes: npt.NDArray[Any]) -> dict[str, Any]:
    """Give class labels as plain data.

    Args:
        classes: Texts, numbers or booleans; scikit-learn allows no others.
    """
    return {"dtype": classes.dtype.str, "values": classes.tolist()}


def restored_classes(value: Mapping[str, Any]) -> npt.NDArray[Any]:
    """Give class labels back.

    Args:
        value: What `plain_classes` gave.
    """
    return np.array(value["values"], dtype=np.dtype(value["dtype"]))
