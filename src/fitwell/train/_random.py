"""The states of the global random generators, in a form that loads without executing anything."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

_NumpyState = tuple[str, npt.NDArray[np.uint32], int, int, float]


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
