"""Choosing by speed, with a clock that is told what each way costs."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fitwell.core.errors import UsageError
from fitwell.optim import SGD
from fitwell.train import Speed, Supervised, Trainer, Way, measure_speed
from fitwell.train import _speed as module

from .problems import batches, examples, network, objective, same_weights, weights_of

LONG = 100_000
"""Steps of a run that is long enough for everything to be measured."""


class Costs:
    """A clock, and a loss that moves it by what a step of each way shall cost."""

    def __init__(self, noise: float = 0.0, seed: int = 0, **seconds: float) -> None:
        self.now = 0.0
        self.steps = 0
        self.noise = noise
        self.draw = random.Random(seed)
        self.seconds = {"float32": 1.0, **seconds}

    def clock(self) -> float:
        return self.now

    def way(self, model: nn.Module) -> str:
        words = ["bf16" if torch.is_autocast_enabled("cpu") else "float32"]
        weight = next(p for p in model.parameters() if p.ndim == 4)
        if weight.is_contiguous(memory_format=torch.channels_last):
            words.append("channels_last")
        return "_".join(words)

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        self.steps += 1
        cost = self.seconds.get(self.way(model), self.seconds["float32"])
        self.now += cost * (1 + self.noise * self.draw.uniform(-1, 1))
        return F.cross_entropy(model(batch[0]), batch[1]), {}


def images(count: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 2, 4, 4, generator=generator), torch.arange(count) % 3


def small_cnn(dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.Dropout(dropout), nn.Flatten(), nn.Linear(48, 3)
    )


def sgd(model: nn.Module) -> SGD:
    return SGD(model.parameters(), lr=0.1)


@pytest.fixture(autouse=True)
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def choose(costs: Costs, **options: Any) -> Speed:
    options = {"planned_steps": LONG, "clock": costs.clock, **options}
    return measure_speed(small_cnn(), costs, sgd, images(), **options)


@pytest.mark.parametrize(
    ("costs", "wanted"),
    [
        ({}, Way()),
        ({"bf16": 0.95}, Way()),  # faster, but not clearly
        ({"bf16": 0.6}, Way(precision="bf16")),
        ({"float32_channels_last": 0.8}, Way(channels_last=True)),
        ({"bf16_channels_last": 0.5}, Way(precision="bf16", channels_last=True)),
        # Both together must clearly beat the better one alone.
        ({"bf16": 0.6, "bf16_channels_last": 0.57}, Way(precision="bf16")),
        ({"bf16": 0.6, "bf16_channels_last": 0.5}, Way(precision="bf16", channels_last=True)),
        ({"bf16": 3.0, "float32_channels_last": 2.0}, Way()),
    ],
)
def test_the_clearly_fastest_way_is_chosen(costs: dict[str, float], wanted: Way) -> None:
    found = choose(Costs(**costs))
    assert found.way == wanted
    cost = {"float32": 1.0, **costs}
    for row in found.rows:
        name = "_".join([row.way.precision, *["channels_last"] * row.way.channels_last])
        assert row.seconds == pytest.approx(cost.get(name, 1.0))
        assert row.ratio == pytest.approx(1 / cost.get(name, 1.0))


def test_noise_alone_hardly_ever_wins_and_a_true_gain_does() -> None:
    null = [choose(Costs(noise=0.3, seed=seed)).way != Way() for seed in range(40)]
    true = [choose(Costs(noise=0.3, seed=seed, bf16=0.6)).way != Way() for seed in range(40)]
    assert sum(null) <= 4
    assert sum(true) >= 36


@pytest.mark.parametrize("steps", [1, 10, 100, 1_000, LONG])
def test_the_time_is_bounded(steps: int) -> None:
    for seconds in (0.001, 0.1, 10.0):
        costs = Costs(float32=seconds)
        found = choose(costs, planned_steps=steps)
        bound = max(0.02 * steps * seconds, 3.0)
        first = 4 * seconds  # without these nothing is known
        assert found.seconds == pytest.approx(costs.now)
        # A way may turn out slower than the plain one that was timed; here all are alike.
        assert costs.now <= bound + first + 1e-6


def test_a_short_run_is_not_held_up() -> None:
    found = choose(Costs(float32=2.0, bf16=0.1), planned_steps=20)
    assert found.way == Way()
    assert "too short" in found.reason
    assert len(found.rows) == 1


def test_what_is_kept_is_not_measured() -> None:
    costs = Costs(bf16=0.1, bf16_channels_last=0.1)
    assert choose(costs, keep=("precision",)).way == Way()
    found = choose(Costs(), base=Way(precision="bf16"), keep=("precision",))
    assert {row.way.precision for row in found.rows} == {"bf16"}
    assert [row.way.channels_last for row in found.rows] == [False, True]


def test_without_convolutions_or_images_the_layout_is_not_tried() -> None:
    model = network()
    found = measure_speed(
        model, objective(), sgd, (torch.rand(8, 8), torch.zeros(8, dtype=torch.int64)),
        planned_steps=LONG,
    )  # fmt: skip
    assert {row.way.channels_last for row in found.rows} == {False}


def test_bf16_is_left_out_where_its_loss_differs() -> None:
    class Fragile(nn.Module):
        """Loses what it needs when it is rounded to 8 bits."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(1, 1, bias=False)
            nn.init.ones_(self.linear.weight)

        def forward(self, x: Tensor) -> Tensor:
            return (self.linear(x) - 1000) ** 2

    batch = (torch.full((4, 1), 1001.0), torch.zeros(4, 1))
    found = measure_speed(
        Fragile(), Supervised(F.mse_loss), lambda m: SGD(m.parameters(), lr=0.0), batch,
        planned_steps=LONG,
    )  # fmt: skip
    (row,) = [row for row in found.rows if row.way.precision == "bf16"]
    assert found.way.precision == "float32"
    assert row.note.startswith("the loss is ")
    assert row.seconds is None


def test_fp16_is_never_proposed() -> None:
    assert all(row.way.precision != "fp16" for row in choose(Costs()).rows)


def test_a_way_that_fails_is_left_out_with_its_reason() -> None:
    class Strict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = small_cnn()

        def forward(self, x: Tensor) -> Tensor:
            y = self.body(x)
            if y.dtype != torch.float32:
                raise RuntimeError("\"my_kernel\" not implemented for 'BFloat16'")
            return y

    found = measure_speed(Strict(), objective(), sgd, images(), planned_steps=LONG)
    notes = {row.way.precision: row.note for row in found.rows}
    assert notes["bf16"] == "fails: \"my_kernel\" not implemented for 'BFloat16'"
    assert found.way.precision == "float32"


def test_a_plain_way_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        measure_speed(nn.Linear(3, 3), objective(), sgd, (torch.rand(2, 4), 0), planned_steps=9)


def test_threads_are_tried_on_a_cpu_and_put_back() -> None:
    torch.set_num_threads(2)

    class Threads(Costs):
        def way(self, model: nn.Module) -> str:
            return "one" if torch.get_num_threads() == 1 else "float32"

    def pick(one: float, **options: Any) -> Way:
        costs, rows = Threads(one=one), (torch.ones(4, 8), torch.arange(4) % 3)
        options |= {"planned_steps": LONG, "clock": costs.clock}
        return measure_speed(nn.Linear(8, 3), costs, sgd, rows, **options).way

    assert pick(0.5) == Way(threads=1)
    assert str(pick(0.5)) == "float32, 1 thread"
    assert torch.get_num_threads() == 2
    assert pick(1.0) == Way()
    assert pick(0.5, keep=("threads",)) == Way()


def test_compiling_is_for_long_runs_on_a_gpu() -> None:
    race = module._Race(nn.Linear(1, 1), objective(), sgd, None, lambda: 0.0)
    assert module._compilation(race, Way(), 1e9) == []
    race.device = torch.device("cuda")
    assert module._compilation(race, Way(), 59.0) == []
    assert module._compilation(race, Way(precision="bf16"), 60.0) == [
        Way(precision="bf16", compiled=True)
    ]
    assert module._threads(race, Way(), 0.0) == []


def trained(dropout: float, look: Callable[[nn.Module], object]) -> Any:
    model = network(dropout=dropout)
    model[1].eval()
    torch.manual_seed(5)
    look(model)
    assert not model[1].training
    assert all(p.grad is None for p in model.parameters())
    trainer = Trainer(model, objective(), sgd(model))
    history = trainer.fit(batches(), epochs=2)
    return history.losses, weights_of(model), torch.rand(3)


def test_measuring_leaves_no_trace() -> None:
    data = examples(32)
    batch = (data.inputs, data.targets)

    def look(model: nn.Module) -> Speed:
        return measure_speed(model, objective(), sgd, batch, planned_steps=500)

    without, losses = trained(0.5, lambda model: None), trained(0.5, look)
    assert without[0] == losses[0]
    assert same_weights(without[1], losses[1])
    assert torch.equal(without[2], losses[2])


def test_the_layout_of_the_model_stays() -> None:
    model = small_cnn()
    strides = [p.stride() for p in model.parameters()]
    measure_speed(model, objective(), sgd, images(), planned_steps=LONG)
    assert [p.stride() for p in model.parameters()] == strides


def test_dropout_does_not_make_bf16_look_wrong() -> None:
    found = measure_speed(small_cnn(0.5), objective(), sgd, images(), planned_steps=LONG)
    assert len(found.rows) == 4
    assert [row.note for row in found.rows] == [""] * 4


def test_the_choice_reads_as_a_table_and_as_data() -> None:
    found = choose(Costs(bf16=0.5))
    text = str(found)
    assert text.startswith("bf16: 2.00 times as fast as float32 (")
    assert "\nbf16, channels last  " in text
    data = json.loads(json.dumps(found.to_dict()))
    assert data["way"] == {
        "precision": "bf16",
        "channels_last": False,
        "compiled": False,
        "threads": None,
    }
    assert str(choose(Costs(float32=9.0), planned_steps=1)).count("\n") == 0


def test_a_run_without_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="`planned_steps` must be at least 1; got 0"):
        choose(Costs(), planned_steps=0)
