"""Changed copies of networks: sizes by formula, the same outputs' shape, the original untouched."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.doctor import state_digest
from fitwell.doctor._twins._surgery import (
    deeper,
    drops,
    normalized,
    shallower,
    wider,
    with_dropout,
    with_relu,
    with_skips,
    without_dropout,
)
from fitwell.nn import CNN, MLP, CifarResNet, DropConnect, Linear, count_parameters

from . import programs

ROWS = torch.randn(9, 10, generator=torch.Generator().manual_seed(0))
PICTURES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TOKENS = torch.randint(20, (5, 7), generator=torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    """Notes its width in a number of its own, and makes its first state from that."""

    def __init__(self, layers: int = 1, kind: Any = nn.LSTM, width: int = 12) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8, padding_idx=0)
        self.recurrent = kind(8, width, num_layers=layers, batch_first=True, bidirectional=True)
        self.width = width
        self.head = nn.Linear(2 * width, 3)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.recurrent(self.embedding(x))
        return self.head(y[:, -1] + torch.zeros(len(x), 2, self.width).flatten(1))


class Attention(nn.Module):
    def __init__(self, layers: int = 2, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, width)
        self.places = nn.Parameter(torch.randn(1, 7, width))
        block = nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True)
        self.encoder = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(x) + self.places).mean(1))


class Named(nn.Module):
    """Layers as they are called by beginners: no chain, activations as functions."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, widths[0])
        self.fc2 = nn.Linear(widths[0], widths[1])
        self.fc3 = nn.Linear(widths[1], 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 20, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(self.embedding(x))))


class Keeping(nn.Module):
    """Keeps activations, in attributes that are there before and in such that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(10, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.hidden = {"first": self.first(x).relu()}
        self.last = self.second(self.hidden["first"]).relu()
        return self.third(self.last)


def mlp(*widths: int, activation: str = "relu", dropout: float = 0.0) -> MLP:
    torch.manual_seed(1)
    return MLP(10, 3, hidden=widths, activation=activation, dropout=dropout)


def resnet(depth: int = 20, residual: bool = True) -> CifarResNet:
    return CifarResNet(3, 4, depth=depth, residual=residual)


CASES: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "mlp": (lambda: mlp(32, 16), ROWS),
    "square": (lambda: mlp(32, 32, 32, 32, activation="tanh", dropout=0.1), ROWS),
    "cnn": (lambda: CNN(3, 4, widths=(8, 16)), PICTURES),
    "resnet": (lambda: resnet(14), PICTURES),
    "recurrent": (lambda: Recurrent(2), TOKENS),
    "attention": (Attention, TOKENS),
    "named": (lambda: Named(12, 12), ROWS),
    "keeping": (Keeping, ROWS),
}


def size(model: nn.Module) -> int:
    return count_parameters(model)


@pytest.mark.parametrize("change", [deeper, shallower, wider], ids=lambda c: c.__name__)
@pytest.mark.parametrize("case", CASES)
def test_a_copy_works_repeats_and_leaves_the_original(case: str, change: Any) -> None:
    make, inputs = CASES[case]
    model = make()
    torch.manual_seed(0)
    before = state_digest(model)
    made = change(model, inputs)
    torch.manual_seed(0)
    assert state_digest(model) == before
    again = change(model, inputs)
    for one, other in zip(made.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    larger = size(made) - size(model)
    assert larger < 0 if change is shallower else larger > 0
    assert made.training
    outputs = made(inputs)
    assert outputs.shape == model(inputs).shape
    outputs.square().sum().backward()
    assert all(p.grad is not None for p in made.parameters())


@pytest.mark.parametrize("change", [deeper, shallower, with_skips], ids=lambda c: c.__name__)
def test_a_model_that_keeps_its_history_is_changed_and_left_as_it_was(change: Any) -> None:
    model = programs.Tied()
    rows = ROWS[:, :8]
    if change is not with_skips:
        model(rows)  # whose outputs it keeps
    torch.manual_seed(0)
    before = state_digest(model)
    made = change(model, rows)
    torch.manual_seed(0)
    assert state_digest(model) == before
    copy.deepcopy(made)
    assert made(rows).shape == (9, 3)
    with pytest.raises(UsageError, match="got Tied: its shared weight would have two shapes"):
        wider(model, rows)
    torch.manual_seed(0)
    assert state_digest(model) == before


def test_twice_as_deep_and_half() -> None:
    assert size(deeper(mlp(32, 32), ROWS)) == size(mlp(32, 32, 32, 32))
    assert size(shallower(mlp(32, 32, 32, 32), ROWS)) == size(mlp(32, 32))
    assert size(deeper(mlp(32, 16), ROWS)) == size(mlp(32, 32, 16, 16))
    assert size(shallower(mlp(32, 16), ROWS)) == size(mlp(32))
    assert size(deeper(Attention(2), TOKENS)) == size(Attention(4))
    assert size(shallower(Attention(4), TOKENS)) == size(Attention(2))
    assert size(deeper(Recurrent(2), TOKENS)) == size(Recurrent(4))
    assert size(shallower(Recurrent(4, nn.GRU), TOKENS)) == size(Recurrent(2, nn.GRU))
    assert size(deeper(Linear(10, 3), ROWS)) == size(mlp(64))
    assert size(shallower(mlp(8), ROWS)) == size(Linear(10, 3))
    assert size(shallower(Named(12, 12), ROWS)) == 10 * 12 + 12 + 12 * 2 + 2


def test_blocks_of_a_residual_network_are_doubled_where_they_keep_the_shape() -> None:
    model = resnet(20)
    made = deeper(model, PICTURES)
    assert len(made.blocks) == 18
    assert len(shallower(model, PICTURES).blocks) == 9 - 4
    kept = dict(made.named_parameters())["blocks.0.conv1.weight"]
    assert torch.equal(kept, model.blocks[0].conv1.weight)


def test_wider_networks_have_the_parameters_of_their_formula() -> None:
    assert size(wider(mlp(32, 16), ROWS)) == size(mlp(64, 32))
    assert size(wider(mlp(32, 16), ROWS, 0.5)) == size(mlp(16, 8))
    cnn = CNN(3, 4, widths=(8, 16), norm="group")
    assert size(wider(cnn, PICTURES)) == size(CNN(3, 4, widths=(16, 32), norm="group"))
    assert size(wider(Attention(2), TOKENS)) == size(Attention(2, 32))
    narrow = wider(Recurrent(2), TOKENS)
    double = Recurrent(2, width=24)
    double.embedding = nn.Embedding(20, 16, padding_idx=0)
    double.recurrent = nn.LSTM(16, 24, num_layers=2, batch_first=True, bidirectional=True)
    assert size(narrow) == size(double)
    assert not narrow.embedding.weight[0].any()


def test_depthwise_convolutions_stay_depthwise() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 12, 1, groups=4),
        nn.Flatten(),
        nn.Linear(12 * 4 * 4, 2),
    )
    made = wider(model, PICTURES)
    assert (made[1].in_channels, made[1].out_channels, made[1].groups) == (16, 16, 16)
    assert (made[2].in_channels, made[2].out_channels, made[2].groups) == (16, 24, 8)
    assert made[4].in_features == 24 * 4 * 4


def test_new_weights_are_drawn_like_the_old_ones() -> None:
    torch.manual_seed(0)
    model = mlp(200, 200)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=3 / math.sqrt(module.in_features))
            nn.init.normal_(module.bias, mean=-20, std=0.5)
    made = [m for m in wider(model, ROWS).modules() if isinstance(m, nn.Linear)]
    for layer, fan_in in zip(made, (10, 400, 400), strict=True):
        weight, bias = layer.weight.detach(), layer.bias.detach()
        assert float(weight.std()) == pytest.approx(3 / math.sqrt(fan_in), rel=0.1)
        assert float(bias.mean()) == pytest.approx(-20, abs=0.8)
    zero = copy.deepcopy(model)
    for p in zero.parameters():
        nn.init.zeros_(p)
    assert not any(p.any() for p in wider(zero, ROWS).parameters())
    narrow = shallower(mlp(32, 32), ROWS)
    assert torch.equal(narrow.layers[0].weight, mlp(32, 32).layers[0].weight)


def test_shared_weights_stay_shared() -> None:
    made = wider(Tied(), TOKENS)
    assert made.head.weight is made.embedding.weight
    assert tuple(made.head.weight.shape) == (20, 16)


def test_a_layer_narrower_than_its_neighbours_is_not_left_out() -> None:
    with pytest.raises(UsageError, match="no hidden layer that can be left out"):
        shallower(mlp(2), ROWS)
    assert size(shallower(mlp(32, 2, 32), ROWS)) == size(mlp(32, 2))


def test_normalization_follows_each_hidden_layer() -> None:
    made = normalized(mlp(32, 16), ROWS)
    assert [m.normalized_shape for m in made.modules() if isinstance(m, nn.LayerNorm)] == [
        (32,),
        (16,),
    ]
    plain = CNN(3, 4, widths=(8, 16), norm="none")
    norms = [m for m in normalized(plain, PICTURES).modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m.num_features for m in norms] == [8, 8, 16, 16]
    with pytest.raises(UsageError, match="has BatchNorm2d already"):
        normalized(resnet(8), PICTURES)


def test_a_way_around_adds_the_input() -> None:
    model = mlp(10, 10)
    made = with_skips(model, ROWS)
    linear = [m for m in model.modules() if isinstance(m, nn.Linear)]
    x = ROWS
    for layer in linear[:2]:
        x = x + torch.relu(layer(x)) / math.sqrt(2)
    assert torch.allclose(made(ROWS), linear[2](x), atol=1e-6)


def test_ways_around_are_added_where_there_are_none() -> None:
    plain = resnet(20, residual=False)
    assert size(with_skips(plain, PICTURES)) == size(plain)
    for model, inputs in ((resnet(20), PICTURES), (Attention(), TOKENS)):
        with pytest.raises(UsageError, match="there are ways around already"):
            with_skips(model, inputs)
    with pytest.raises(UsageError, match="no hidden part of it keeps the shape"):
        with_skips(mlp(32, 16), ROWS)


def test_ways_around_are_seen_with_one_example() -> None:
    with pytest.raises(UsageError, match="there are ways around already"):
        with_skips(resnet(20).eval(), PICTURES[:1])


def test_drawn_variances_are_positive() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.Linear(32, 2))
    model[1].running_var.copy_(torch.rand(32) ** 8)
    assert (wider(model, ROWS)[1].running_var >= 0).all()


def test_relu_takes_the_place_of_what_saturates() -> None:
    made = with_relu(nn.Sequential(mlp(8, 8, activation="tanh"), nn.Sigmoid()), ROWS)
    kinds = [type(m).__name__ for m in made.modules()]
    assert kinds.count("ReLU") == 2
    assert kinds.count("Tanh") == 0
    assert kinds[-1] == "Sigmoid"
    with pytest.raises(UsageError, match="no sigmoid or tanh"):
        with_relu(mlp(8), ROWS)


def test_dropout_off_and_on() -> None:
    model = nn.Sequential(
        nn.Dropout(0.5), DropConnect(10, 10, p=0.3), nn.TransformerEncoderLayer(10, 2, 8, 0.4)
    )
    assert drops(model)
    made = without_dropout(model)
    assert not drops(made)
    assert torch.equal(made(ROWS), made(ROWS))
    assert model[0].p == 0.5
    with_some = with_dropout(mlp(16), ROWS, 0.3)
    assert [m.p for m in with_some.modules() if isinstance(m, nn.Dropout)] == [0.3]


class Fixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(10, 8)
        self.scale = nn.Parameter(torch.ones(3, 8, 1))
        self.last = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.first(x)[:, None, :, None] * self.scale).sum((1, 3)))


def test_what_cannot_be_changed_is_refused_with_its_name() -> None:
    with pytest.raises(
        UsageError, match=r"wider: `model` must allow the change; got Fixed: .*size"
    ):
        wider(Fixed(), ROWS)
    with pytest.raises(UsageError, match="got MLP: it has no hidden layer"):
        wider(Linear(10, 3), ROWS)
    with pytest.raises(UsageError, match="`factor` must be positive and not 1; got 1"):
        wider(mlp(8), ROWS, 1.0)
    with pytest.raises(UsageError, match=r"got Linear '0': mat1 and mat2 shapes"):
        deeper(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), ROWS)
    with pytest.raises(UsageError, match="must have layers with weights that are known here"):
        deeper(nn.Sequential(nn.ReLU()), ROWS)
