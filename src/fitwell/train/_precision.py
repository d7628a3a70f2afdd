"""The precision of forward passes."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import torch

Precision = Literal["float32", "bf16", "fp16"]


def autocast(
    precision: Precision, device: torch.device | str
) -> contextlib.AbstractContextManager[Any]:
    """Give the context for forward passes of a precision; float32 changes nothing.

    Args:
        precision: Of the passes.
        device: Where they run.

    Source: micikevicius2018mixed.
    Checked against: `torch.autocast`.
    """
    if precision == "float32":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if precision == "bf16" else torch.float16
    return torch.autocast(torch.device(device).type, dtype=dtype)
