"""What every public module of `fitwell.nn` keeps to, without being listed by hand twice."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fitwell import nn as fitwell_nn

# Small enough for gradcheck; image models in evaluation mode see at least 2 x 2 in the last layer.
CASES: dict[str, dict[str, Any]] = {
    "BatchRenorm": {"num_features": 5},
    "CNN": {"in_channels": 2, "out_features": 3, "widths": (4, 5)},
    "ChannelsLast": {},
    "CifarResNet": {"in_channels": 2, "out_features": 3, "depth": 8},
    "CosineLinear": {"in_features": 7, "out_features": 3},
    "DropBlock2d": {"block_size": 3},
    "DropConnect": {"in_features": 7, "out_features": 3},
    "GaussianDropout": {},
    "GhostBatchNorm": {"num_features": 5},
    "LeNet5": {"in_channels": 2, "out_features": 3},
    "LocallyConnected2d": {
        "in_channels": 2,
        "out_channels": 3,
        "kernel_size": 3,
        "image_size": (5, 5),
    },
    "LpBatchNorm": {"num_features": 5},
    "MLP": {"in_features": 7, "out_features": 3, "hidden": (5, 4), "activation": "tanh"},
    "MobileNet": {"in_channels": 2, "out_features": 3, "width": 0.1},
    "NoisyBatchNorm": {"num_features": 5},
    "Normalize": {"mean": (0.1,) * 5, "std": (2.0,) * 5},
    "ResNet18": {"in_channels": 2, "out_features": 3},
    "SpatialTransformer": {"in_channels": 2},
    "StochasticDepth": {},
    "TableEncoder": {
        "cardinalities": (0, 4, 0),
        "mean": (0.5, 0.5),
        "std": (2.0, 0.5),
        "missing": (True, False),
    },
    "TextCNN": {"vocab_size": 9, "out_features": 3, "embed_dim": 4, "filters": 2},
    "Unscale": {"mean": 3.0, "std": 2.0},
}
PUBLIC = sorted(
    name
    for name, value in vars(fitwell_nn).items()
    if inspect.isclass(value) and issubclass(value, nn.Module)
)
# Sizes bound to the letters of the docstrings.
LETTERS = {"B": 3, "C": 5, "H": 7, "W": 11, "F": 3, "T": 6}
# float64 gradients of deep stacks, by finite differences of step 1e-6.
GRADIENT_TOLERANCE = 1e-4


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = getattr(fitwell_nn, name)(**CASES[name])
    return module


def stated_shape(name: str, which: str, module: nn.Module) -> tuple[int, ...]:
    found = re.search(rf"^\s*{which}: \((.*)\)$", inspect.getdoc(type(module)) or "", re.M)
    assert found, f"{name} states no shape of {which}"
    words = LETTERS | {k: v for k, v in vars(module).items() if isinstance(v, int)}
    words |= {k: v for k, v in CASES[name].items() if isinstance(v, int)}
    return tuple(eval(part, {}, words) for part in found[1].split(",") if part.strip())


def make_input(name: str, module: nn.Module, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw numbers; for modules whose input is called `tokens`, whole ones without padding."""
    generator = torch.Generator().manual_seed(1)
    if "tokens" in inspect.signature(module.forward).parameters:
        shape = stated_shape(name, "tokens", module)
        return torch.randint(1, CASES[name]["vocab_size"], shape, generator=generator)
    return torch.rand(stated_shape(name, "x", module), generator=generator).to(dtype)


def test_every_public_module_has_a_case() -> None:
    assert sorted(CASES) == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_output_has_the_stated_shape(name: str) -> None:
    module = build(name).eval()
    output = module(make_input(name, module))
    assert tuple(output.shape) == stated_shape(name, "return", module)


@pytest.mark.parametrize("name", PUBLIC)
def test_gradients_equal_finite_differences(name: str) -> None:
    module = build(name).to(torch.float64).eval()
    x = make_input(name, module, torch.float64)[:2]
    names = [key for key, _ in module.named_parameters()] if not x.is_floating_point() else []
    weights = [module.get_parameter(key) for key in names]

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        output: Tensor = functional_call(module, dict(zip(names, weights, strict=True)), (x,))
        return output

    inputs = (x.requires_grad_() if x.is_floating_point() else x, *weights)
    assert torch.autograd.gradcheck(
        run, inputs, fast_mode=True, atol=GRADIENT_TOLERANCE, rtol=GRADIENT_TOLERANCE
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_gradients_of_a_training_step_are_finite_and_reach_every_parameter(name: str) -> None:
    module = build(name).train()
    x = make_input(name, module)
    gradients: dict[str, Tensor | None] = {}
    inputs = {"x": x.requires_grad_()} if x.is_floating_point() else {}
    module(x).square().sum().backward()
    leaves = {**dict(module.named_parameters()), **inputs}
    gradients = {key: leaf.grad for key, leaf in leaves.items()}
    missing = [key for key, gradient in gradients.items() if gradient is None]
    assert missing == []
    assert all(bool(g.isfinite().all()) for g in gradients.values() if g is not None)


@pytest.mark.parametrize("name", PUBLIC)
def test_state_dict_makes_a_new_one_equal(name: str) -> None:
    module = build(name)
    torch.manual_seed(99)
    twin: nn.Module = getattr(fitwell_nn, name)(**CASES[name])
    twin.load_state_dict(module.state_dict())
    x = make_input(name, module)
    assert torch.equal(module.eval()(x), twin.eval()(x))


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_is_kept(name: str, dtype: torch.dtype) -> None:
    module = build(name).to(dtype).eval()
    assert module(make_input(name, module, dtype)).dtype == dtype


@pytest.mark.parametrize("name", PUBLIC)
def test_evaluation_is_deterministic_and_changes_no_state(name: str) -> None:
    module = build(name).eval()
    x = make_input(name, module)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    first = module(x)
    assert torch.equal(first, module(x))
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", PUBLIC)
def test_permuting_the_batch_permutes_the_output(name: str) -> None:
    module = build(name).to(torch.float64).eval()
    x = make_input(name, module, torch.float64)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(module(x)[order], module(x[order]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_input_is_left_alone(name: str) -> None:
    module = build(name).train()
    x = make_input(name, module)
    before = x.clone()
    module(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", sorted(fitwell_nn.MODELS))
def test_every_model_is_built_from_what_the_caller_knows(name: str) -> None:
    from fitwell.core.spec import build as build_spec

    model = build_spec(
        name,
        fitwell_nn.MODELS,
        owner="test",
        what="model",
        in_features=2 * 28 * 28,
        in_channels=2,
        image_size=(28, 28),
        out_features=4,
    )
    assert model.eval()(torch.rand(2, 2, 28, 28)).shape == (2, 4)


def test_the_contract_of_batch_order_fails_on_a_broken_module() -> None:
    class Leaks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x[0]

    x = torch.rand(3, 2)
    order = torch.tensor([2, 0, 1])
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(Leaks()(x)[order], Leaks()(x[order]))
