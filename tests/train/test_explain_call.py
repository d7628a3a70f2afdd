"""Wrong calls are explained exactly when Python or torch refuses them."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fitwell.train import explain_call

X = torch.zeros(2, 2)
PARAMETERS = [torch.zeros(1, requires_grad=True)]


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "said"),
    [
        (nn.Conv2d, (3,), {}, ["Conv2d needs `out_channels`, `kernel_size`"]),
        (nn.Conv2d, (3, 4), {"kernal_size": 3}, ["'kernal_size'", "nearest: kernel_size"]),
        (nn.Linear, (3, 4, True, None, None, 5), {}, ["at most 5 arguments by place; got 6"]),
        (nn.Linear, (3, 4), {"units": 4}, ["nearest: out_features"]),
        (nn.ReLU, (), {"in_features": 3}, ["no argument named 'in_features'"]),
        (torch.optim.Adam, (PARAMETERS,), {"learning_rate": 0.1}, ["nearest: lr"]),
        (
            torch.optim.Adam,
            (PARAMETERS, 0.1, (0.9, 0.99), 1e-8, 0, False, True),
            {},
            ["behind * must be given by name, foreach=..."],
        ),
        (F.cross_entropy, (X,), {}, ["needs `target`"]),
        (F.cross_entropy, (X, X), {"target": X}, ["`target` by place and by name"]),
        (nn.Linear(2, 2), (X, X), {}, ["forward takes at most 1"]),
        (torch.max, (X, 0, False, X), {}, ["by name, out=...", "keepdim=False, *, out=None"]),
        (torch.add, (X, 1, 2, 3), {}, ["by name, alpha=..., out=..."]),
        (torch.sum, (X,), {"axes": 1}, ["nearest: dim"]),
        (F.conv2d, (X,), {}, ["needs `weight`"]),
        (torch.tensor, (X, torch.float32), {}, ["by name, dtype=..."]),
    ],
)
def test_pt_23_what_must_be_named_is_said(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], said: list[str]
) -> None:
    with pytest.raises(TypeError, match="argument"):
        function(*args, **kwargs)
    text = explain_call(function, *args, **kwargs)
    assert text is not None
    assert [part for part in said if part not in text] == [], text
    assert text.endswith(".")


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (nn.Conv2d, (3, 4, 3), {"padding": 1}),
        (torch.optim.Adam, (PARAMETERS,), {"lr": 0.1}),
        (torch.max, (X,), {}),
        (torch.max, (X, 0), {"keepdim": True}),
        (nn.Linear(2, 2), (X,), {}),
        (torch.tensor, ([1.0],), {"dtype": torch.float64}),
    ],
)
def test_pt_23_a_right_call_has_no_explanation(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    function(*args, **kwargs)
    assert explain_call(function, *args, **kwargs) is None


@pytest.mark.parametrize("function", [torch.zeros, torch.Tensor.view, max])
def test_pt_23_without_a_signature_nothing_is_claimed(function: Any) -> None:
    with pytest.raises(ValueError, match="no signature found"):
        inspect.signature(function)
    assert explain_call(function, 1, 2, 3, 4, 5, wrong=6) is None


def _sample(a: int, b: int = 1, /, c: int = 2, *, d: int, e: int = 3) -> tuple[int, ...]:
    return a, b, c, d, e


@given(count=st.integers(0, 5), names=st.sets(st.sampled_from("abcdexyz")))
def test_it_agrees_with_python(count: int, names: set[str]) -> None:
    kwargs = dict.fromkeys(sorted(names), 0)
    try:
        _sample(*[0] * count, **kwargs)  # type: ignore[arg-type]
    except TypeError:
        assert explain_call(_sample, *[0] * count, **kwargs) is not None
    else:
        assert explain_call(_sample, *[0] * count, **kwargs) is None
