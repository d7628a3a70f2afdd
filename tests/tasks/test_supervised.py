"""Tasks: recipes, models around their normalization, objectives, answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.core.spec import build, parse
from fitwell.data import Column, Examples, Schema, augmentation
from fitwell.losses import LOSSES
from fitwell.nn import MODELS
from fitwell.optim import OPTIMIZERS, schedule
from fitwell.tasks import IMAGES, TABLE, TASKS, TENSOR, Answers
from fitwell.train import evaluate

CLASSES = ("ant", "bee", "cow")


def images(count: int = 20) -> Examples:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    schema = Schema(kind="images", input_shape=(3, 8, 8), target_kind="class", class_names=CLASSES)
    return Examples(inputs=inputs, targets=torch.arange(count) % 3, schema=schema)


def rows(count: int = 30) -> Examples:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(count, 2, generator=generator) * torch.tensor([3.0, 0.5]) + 7
    numbers[4, 1] = torch.nan
    codes = torch.randint(0, 4, (count, 1), generator=generator).float()
    columns = (
        Column(name="a"),
        Column(name="b"),
        Column(name="c", kind="category", categories=("x", "y", "z")),
    )
    schema = Schema(kind="table", input_shape=(3,), target_kind="number", columns=columns)
    targets = 1000 + 50 * torch.randn(count, generator=generator)
    return Examples(inputs=torch.cat([numbers, codes], 1), targets=targets, schema=schema)


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
@pytest.mark.parametrize("kind", ["class", "number"])
@pytest.mark.parametrize("count", [10, 1_000, 4_999, 50_000, 10_000_000])
def test_every_recipe_can_be_built(task: object, kind: str, count: int) -> None:
    names = CLASSES if kind == "class" else ()
    schema = Schema(kind="table", input_shape=(3,), target_kind=kind, class_names=names)
    recipe = task.recipe(schema, count)  # type: ignore[attr-defined]
    assert parse(recipe.model).name in MODELS
    build(recipe.loss, LOSSES, owner="test", what="loss")
    build(recipe.optimizer, OPTIMIZERS, owner="test", what="optimizer", params=[torch.zeros(1)])
    schedule(recipe.schedule)
    assert augmentation(recipe.augment) is None
    assert (recipe.metric, recipe.mode) == (
        ("accuracy", "max") if kind == "class" else ("mse", "min")
    )
    assert 1 <= recipe.batch_size <= 128
    assert recipe.epochs >= 10


def test_small_data_is_passed_more_often() -> None:
    schema = rows().schema
    epochs = [TABLE.recipe(schema, count).epochs for count in (100, 3_000, 20_000, 10**6)]
    assert epochs == sorted(epochs, reverse=True)
    assert len(set(epochs)) > 2


def test_batches_of_small_data_are_not_larger() -> None:
    sizes = [TABLE.recipe(rows().schema, count).batch_size for count in (100, 3_000, 20_000)]
    assert sizes == sorted(sizes)


def test_images_are_normalized_inside_the_model() -> None:
    data = images()
    fitted = IMAGES.fit_scaling(data.schema, data)
    assert fitted.keys() == {"inputs"}
    pixels = data.inputs.float() / 255
    assert fitted["inputs"]["mean"] == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), rel=1e-5)
    model = IMAGES.build_model("MLP(hidden=(4,))", data.schema, fitted)
    scaled = model.prepare(pixels)
    # float32 sums of some thousand pixels
    torch.testing.assert_close(scaled.mean(dim=(0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    assert model(pixels).shape == (20, 3)


@pytest.mark.parametrize(
    "choice", ["CNN(widths=(4, 8))", "ResNet20()", "LeNet5()", "MLP()", "mlp(hidden=())"]
)
def test_models_get_the_sizes_of_the_data(choice: str) -> None:
    shape = (1, 28, 28) if choice.startswith("LeNet") else (3, 32, 32)
    schema = Schema(kind="images", input_shape=shape, target_kind="class", class_names=CLASSES)
    channels = shape[0]
    fitted = {"inputs": {"mean": [0.5] * channels, "std": [0.2] * channels}}
    assert IMAGES.build_model(choice, schema, fitted)(torch.rand(2, *shape)).shape == (2, 3)


def test_a_table_is_encoded_and_numbers_come_out_in_their_unit() -> None:
    data = rows()
    fitted = TABLE.fit_scaling(data.schema, data)
    assert fitted["inputs"]["cardinalities"] == [0, 0, 4]
    assert fitted["inputs"]["missing"] == [False, True]
    assert data.targets is not None
    assert fitted["targets"]["mean"] == pytest.approx(data.targets.mean().item(), rel=1e-6)
    model = TABLE.build_model("MLP(hidden=(4,))", data.schema, fitted)
    outputs = model(data.inputs)
    assert outputs.shape == (30,)
    assert outputs.isfinite().all()
    assert 500 < outputs.mean() < 1500  # an untrained model guesses near the mean


def test_the_loss_is_in_units_of_the_spread_and_the_metric_in_those_of_the_target() -> None:
    data = rows()
    fitted = TABLE.fit_scaling(data.schema, data)
    objective = TABLE.objective("MSE()", data.schema, fitted)
    targets = data.targets
    assert targets is not None

    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return targets.mean().expand(len(x))

    measured = evaluate(objective, Mean(), [(data.inputs, targets)])
    spread = ((targets - targets.mean()) ** 2).mean()
    assert measured["mse"] == pytest.approx(spread.item(), rel=1e-5)
    assert measured["loss"] == pytest.approx(1, rel=0.05)  # spread over n and over n - 1
    assert measured["r2"] == pytest.approx(0, abs=1e-5)


def test_tensors_of_any_shape_are_a_task() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = 5 + torch.randn(40, 6, 2, generator=generator)
    schema = Schema(kind="tensor", input_shape=(6, 2), target_kind="class", class_names=CLASSES)
    data = Examples(inputs=inputs, targets=torch.arange(40) % 3, schema=schema)
    fitted = TENSOR.fit_scaling(schema, data)
    assert TENSOR.build_model("MLP()", schema, fitted)(inputs).shape == (40, 3)
    with pytest.raises(UsageError, match="must be given as an array from Python"):
        TENSOR.read("x.csv", schema)


def test_a_module_of_ones_own_is_taken_as_it_is() -> None:
    data = images()
    fitted = IMAGES.fit_scaling(data.schema, data)
    own = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    assert IMAGES.build_model(own, data.schema, fitted) is own
    made = IMAGES.build_model(
        lambda in_channels, image_size, out_features: nn.Sequential(
            nn.Conv2d(in_channels, out_features, image_size), nn.Flatten()
        ),
        data.schema,
        fitted,
    )
    assert made(torch.rand(2, 3, 8, 8)).shape == (2, 3)


def test_answers_are_written_by_name_by_index_and_as_numbers() -> None:
    schema = images().schema
    answers = IMAGES.describe(torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]]), schema)
    assert answers.words() == ["bee", "ant"]
    assert answers.words("indices") == ["1", "0"]
    assert answers.probs is not None
    torch.testing.assert_close(answers.probs.sum(dim=1), torch.ones(2))
    numbers = Answers(torch.tensor([1 / 3, 1e10, -2.0]), None)
    written = [float(word) for word in numbers.words()]
    assert torch.equal(torch.tensor(written), numbers.values)  # nine digits hold a float32
