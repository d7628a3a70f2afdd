from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell import nn as fitwell_nn
from fitwell.core.errors import UnknownName, UsageError
from fitwell.core.spec import build as build_spec
from fitwell.nn import (
    CNN,
    MLP,
    NORMS,
    BatchRenorm,
    CifarResNet,
    DropBlock2d,
    DropConnect,
    GaussianDropout,
    GhostBatchNorm,
    LpBatchNorm,
    MobileNet,
    NoisyBatchNorm,
    ResNet18,
    conv_norm_relu,
    make_norm,
    separable_conv,
)

OF_THE_EXAMPLE = ("group", "instance", "layer", "none", "rms")
"""Normalization that looks at one example alone."""
MODELS: dict[str, Callable[..., nn.Module]] = {
    "CNN": lambda **options: CNN(2, 3, widths=(4, 8), dropout=0.0, **options),
    "CNN after": lambda **options: CNN(
        2, 3, widths=(4, 8), dropout=0.0, norm_place="after", **options
    ),
    "CifarResNet": lambda **options: CifarResNet(2, 3, depth=8, **options),
    "MLP": lambda **options: MLP(128, 3, hidden=(16, 8), **options),
    "MLP after": lambda **options: MLP(128, 3, hidden=(16, 8), norm_place="after", **options),
}


def images(count: int = 4) -> Tensor:
    return torch.rand(count, 2, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "kind", "vectors"),
    [
        ("batch", nn.BatchNorm2d, nn.BatchNorm1d),
        ("batch_renorm", BatchRenorm, BatchRenorm),
        ("ghost", GhostBatchNorm, GhostBatchNorm),
        ("group", nn.GroupNorm, nn.GroupNorm),
        ("instance", nn.InstanceNorm2d, None),
        ("layer", nn.GroupNorm, nn.LayerNorm),
        ("lp", LpBatchNorm, LpBatchNorm),
        ("noisy", NoisyBatchNorm, NoisyBatchNorm),
        ("none", nn.Identity, nn.Identity),
        ("rms", nn.Module, nn.RMSNorm),
    ],
)
def test_every_name_makes_its_layer(name: str, kind: type, vectors: type | None) -> None:
    assert isinstance(make_norm("test", name, 8), kind)
    if vectors:
        assert isinstance(make_norm("test", name, 8, images=False), vectors)
    assert name in NORMS


def test_arguments_reach_the_layer() -> None:
    assert make_norm("test", "group(groups=2)", 8).num_groups == 2
    assert make_norm("test", "Group(2)", 8).num_groups == 2
    assert make_norm("test", "ghost(size=16)", 8).ghost_size == 16
    assert make_norm("test", "BatchRenorm(max_r=2, warmup_steps=0)", 8).max_r == 2
    assert make_norm("test", "batch(momentum=None)", 8).momentum is None
    assert make_norm("test", "lp(p=1e999)", 8).p == float("inf")


@pytest.mark.parametrize(
    ("channels", "groups"), [(4, 1), (8, 2), (10, 2), (7, 1), (16, 4), (64, 16), (512, 32)]
)
def test_groups_fit_the_channels(channels: int, groups: int) -> None:
    layer = make_norm("test", "group", channels)
    assert (layer.num_groups, layer.num_channels) == (groups, channels)


def test_layer_norm_of_images_is_over_channels_and_places() -> None:
    x = torch.randn(3, 8, 5, 6, dtype=torch.float64)
    y = make_norm("test", "layer", 8).double()(x)
    theirs = nn.LayerNorm([8, 5, 6], elementwise_affine=False)(x)
    torch.testing.assert_close(y, theirs, rtol=1e-10, atol=1e-12)


def test_rms_norm_of_images_is_over_channels_and_places() -> None:
    layer = make_norm("test", "rms", 8).double()
    nn.init.uniform_(layer.weight)
    x = torch.randn(3, 8, 5, 6, dtype=torch.float64)
    size = (x.square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()
    expected = x / size * layer.weight.view(8, 1, 1)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-12)


def pairs(norms: Iterable[str]) -> list[tuple[str, str]]:
    """Every model with every norm; a vector has no places to take an instance norm over."""
    found = [(model, norm) for norm in norms for model in MODELS]
    return [(m, n) for m, n in found if not (m.startswith("MLP") and n == "instance")]


def layer_names(network: nn.Module) -> list[str]:
    skipped = ("Sequential", "ChannelsLast", "AdaptiveAvgPool2d", "Flatten", "MaxPool2d")
    names = [type(part).__name__ for part in network.modules() if not list(part.children())]
    return [name for name in names if name not in skipped]


# In models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "norm"), pairs(NORMS))
def test_every_model_trains_with_every_norm(model: str, norm: str) -> None:
    torch.manual_seed(0)
    network = MODELS[model](norm=norm)
    x = images().requires_grad_()
    network(x).square().sum().backward()
    gradients = {name: p.grad for name, p in network.named_parameters()}
    assert [name for name, g in gradients.items() if g is None or not g.isfinite().all()] == []
    # What stands right after a layer takes its shift; where it has none, the layer has a bias.
    dead = [name for name, g in gradients.items() if name.endswith("0.bias") and not g.any()]
    assert dead == []


@pytest.mark.parametrize("norm", ["group", "none"])
def test_separable_convolutions_have_the_norm_in_both_parts(norm: str) -> None:
    block = separable_conv(8, 16, norm=norm)
    kinds = ["Conv2d", "GroupNorm", "ReLU"] if norm == "group" else ["Conv2d", "ReLU"]
    assert layer_names(block) == 2 * kinds
    network = MobileNet(2, 3, width=0.1, stem="cifar", norm=norm)
    counts = {name: layer_names(network).count(name) for name in ("Conv2d", "GroupNorm")}
    assert counts == {"Conv2d": 27, "GroupNorm": 27 * (norm == "group")}


@pytest.mark.parametrize(("model", "norm"), pairs(OF_THE_EXAMPLE))
def test_a_norm_of_the_example_does_not_see_its_batch_mates(model: str, norm: str) -> None:
    torch.manual_seed(0)
    network = MODELS[model](norm=norm).double().train()
    x = images().double()
    torch.testing.assert_close(network(x)[:1], network(x[:1]), rtol=1e-9, atol=1e-12)


def test_norm_place_is_before_or_after_the_activation() -> None:
    for place, order in (
        ("before", ["Conv2d", "BatchNorm2d", "ReLU"]),
        ("after", ["Conv2d", "ReLU", "BatchNorm2d"]),
    ):
        block = conv_norm_relu(2, 3, norm_place=place)  # type: ignore[arg-type]
        assert layer_names(block) == order
        assert (block[0].bias is None) == (place == "before")
        network = CNN(2, 3, widths=(4,), convs=1, norm_place=place)  # type: ignore[arg-type]
        assert layer_names(network)[:3] == order
    norm = {"norm": "batch", "hidden": (4,), "activation": "sigmoid"}
    before, after = (MLP(2, 3, norm_place=place, **norm) for place in ("before", "after"))
    assert layer_names(before) == ["Linear", "BatchNorm1d", "Sigmoid", "Linear"]
    assert layer_names(after) == ["Linear", "Sigmoid", "BatchNorm1d", "Linear"]
    assert before.layers[0].bias is None
    assert after.layers[0].bias is not None


@pytest.mark.parametrize(
    ("kind", "layer", "count"),
    [
        ("element", nn.Dropout, 1),
        ("gaussian", GaussianDropout, 1),
        ("channel", nn.Dropout2d, 2),
        ("block", DropBlock2d, 2),
    ],
)
def test_kinds_of_dropout_of_the_cnn(kind: Any, layer: type, count: int) -> None:
    network = CNN(2, 3, widths=(4, 8), dropout=0.3, dropout_kind=kind)
    found = [part for part in network.modules() if isinstance(part, layer)]
    assert [part.p for part in found] == [0.3] * count
    x = images()
    assert not torch.equal(network.train()(x), network(x))
    assert torch.equal(network.eval()(x), network(x))


@pytest.mark.parametrize(
    ("kind", "layer"),
    [("element", nn.Dropout), ("gaussian", GaussianDropout), ("connect", DropConnect)],
)
def test_kinds_of_dropout_of_the_mlp(kind: Any, layer: type) -> None:
    network = MLP(6, 3, hidden=(5, 4), dropout=0.3, dropout_kind=kind)
    assert [part.p for part in network.modules() if isinstance(part, layer)] == [0.3, 0.3]
    assert list(network.state_dict()) == list(
        MLP(6, 3, hidden=(5, 4), dropout=0.3 * (kind != "connect")).state_dict()
    )


# The defaults -----------------------------------------------------------------------------------


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def test_the_defaults_are_batch_norm_before_for_images_and_none_for_vectors() -> None:
    for one, other in (
        (CNN(2, 3), CNN(2, 3, norm="batch", norm_place="before", dropout_kind="element")),
        (MLP(6, 3), MLP(6, 3, norm="none")),
        (CifarResNet(), CifarResNet(norm="batch", stochastic_depth=0.0)),
        (ResNet18(), ResNet18(norm="batch", stochastic_depth=0.0)),
        (MobileNet(), MobileNet(norm="batch")),
    ):
        assert repr(one) == repr(other)
        assert shapes(one) == shapes(other)
    assert "features.1.1.running_mean" in CNN(2, 3).state_dict()
    assert list(MLP(6, 3, hidden=(4,)).state_dict()) == [
        *("layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.2.bias")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "CNN(norm='group(groups=4)', norm_place='after')",
        "CNN(norm=ghost(size=4), dropout_kind='block')",
        "ResNet20(norm='batch_renorm(warmup_steps=10)', stochastic_depth=0.2)",
        "MobileNet(norm='layer', width=0.1, stem='cifar')",
        "MLP(norm=rms, dropout=0.2, dropout_kind='connect')",
    ],
)
def test_options_are_part_of_the_spec_of_a_model(text: str) -> None:
    model = build_spec(
        text,
        fitwell_nn.MODELS,
        owner="test",
        what="model",
        in_features=128,
        in_channels=2,
        out_features=3,
    )
    assert model(images()).shape == (4, 3)


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (
            lambda: CNN(2, 3, norm="grup"),
            UnknownName,
            "CNN: no norm named 'grup'; nearest: 'group'",
        ),
        (
            lambda: CNN(2, 3, norm="group(group=3)"),
            UnknownName,
            "CNN: group: no argument named 'group'; nearest: 'groups'",
        ),
        (
            lambda: CNN(2, 3, norm="group(groups=5)"),
            UsageError,
            "CNN: `groups` of group norm must divide the channels; got groups=5, channels=16",
        ),
        (
            lambda: MLP(2, 3, hidden=(4,), norm="group(groups=4)"),
            UsageError,
            "MLP: `groups` of group norm must be fewer than the features; got groups=4",
        ),
        (
            lambda: MLP(2, 3, norm="instance"),
            UsageError,
            "MLP: `norm` must not be 'instance' for vectors",
        ),
        (
            lambda: ResNet18(norm="ghost(size=0)"),
            UsageError,
            "GhostBatchNorm: `ghost_size` must be at least 1; got 0",
        ),
        (lambda: CifarResNet(norm="bach"), UnknownName, "CifarResNet: no norm named 'bach'"),
        (lambda: MobileNet(norm="bach"), UnknownName, "MobileNet: no norm named 'bach'"),
        (lambda: separable_conv(2, 3, norm="bach"), UnknownName, "no norm named 'bach'"),
        (
            lambda: CNN(2, 3, norm_place="beside"),  # type: ignore[arg-type]
            UsageError,
            r"CNN: `norm_place` must be one of \('before', 'after'\); got 'beside'",
        ),
        (
            lambda: MLP(2, 3, norm_place="beside"),  # type: ignore[arg-type]
            UsageError,
            "MLP: `norm_place` must be one of",
        ),
        (
            lambda: MLP(2, 3, dropout_kind="block"),  # type: ignore[arg-type]
            UsageError,
            r"MLP: `dropout_kind` must be one of .*; got 'block'. Use 'element'",
        ),
        (
            lambda: CNN(2, 3, dropout_kind="connect"),  # type: ignore[arg-type]
            UsageError,
            "CNN: `dropout_kind` must be one of",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    build: Callable[[], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        build()
