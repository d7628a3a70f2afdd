"""Truths about the way from data to answers, one or more tests per catalogue row."""

from __future__ import annotations

import io
import math
import re
import sys
import tokenize
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, mean_squared_error
from torch import Tensor, nn

import fitwell
from fitwell.data import Batches, Examples, Schema, load_builtin
from fitwell.metrics import Classification, Regression
from fitwell.nn import MLP
from fitwell.optim import SGD, AdamW, Cosine
from fitwell.train import Supervised, Trainer, outputs_of

VOCABULARY = 5


class PerPosition(nn.Module):
    """A label for each position of a sequence, from what was read so far."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.read = nn.GRU(8, 24, batch_first=True)
        self.answer = nn.Linear(24, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        answers: Tensor = self.answer(self.read(self.embed(tokens))[0])
        return answers


@dataclass(frozen=True)
class Sequences:
    """An objective of one's own: mean loss over positions; the metric is the share of whole
    sequences that are right."""

    def __call__(self, model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        tokens, labels = batch
        return F.cross_entropy(model(tokens).flatten(0, 1), labels.flatten()), {}

    def evaluate(self, model: nn.Module, batches: Iterable[Any]) -> dict[str, float]:
        right = torch.cat([(model(x).argmax(-1) == y).all(dim=1) for x, y in batches])
        return {"loss": 1 - right.float().mean().item(), "whole": right.float().mean().item()}


def previous_token(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Say at each position which token was two before; class 0 at the start."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCABULARY, (count, 6), generator=generator)
    labels = torch.cat([torch.zeros(count, 2, dtype=torch.int64), tokens[:, :-2]], dim=1)
    return list(zip(tokens.split(50), labels.split(50), strict=True))


def numbers(name: str) -> tuple[Batches, Batches, int]:
    splits = load_builtin(name, test=0)
    scale = [splits.train.inputs.mean(0), splits.train.inputs.std(0)]
    train, valid = (
        Examples(
            inputs=(part.inputs - scale[0]) / scale[1], targets=part.targets, schema=part.schema
        )
        for part in (splits.train, splits.valid)
    )
    return Batches(train, 32, shuffle=True), Batches(valid, 256), train.inputs.shape[1]


def test_intro_01_one_trainer_fits_regression_classification_and_sequences() -> None:
    torch.manual_seed(0)
    # Regression: the spread of the target is 77; a linear model has its optimum in closed form.
    train, valid, features = numbers("diabetes")
    model: nn.Module = nn.Sequential(MLP(features, 1, hidden=()), nn.Flatten(0))
    regression = Supervised(lambda out, y: F.mse_loss(out / 77, y / 77), lambda d: Regression(d))
    trainer = Trainer(model, regression, SGD(model.parameters(), lr=40.0, momentum=0.5))
    first = trainer.fit(train, valid, epochs=60).epochs[-1]["valid"]
    learned = train.examples
    optimum = LinearRegression().fit(learned.inputs.numpy(), learned.targets)
    assert first["r2"] == pytest.approx(
        optimum.score(valid.examples.inputs.numpy(), valid.examples.targets), abs=0.03
    )
    assert first["rmse"] == pytest.approx(first["mse"] ** 0.5)

    # Classification, with another loss and metric.
    train, valid, features = numbers("wine")
    model = MLP(features, 3, hidden=(16,))
    classification = Supervised(F.cross_entropy, lambda d: Classification(3, device=d))
    trainer = Trainer(model, classification, AdamW(model.parameters(), lr=0.01))
    second = trainer.fit(train, valid, epochs=20).epochs[-1]["valid"]
    assert second["accuracy"] > 0.9

    # A sequence as output, with an objective of one's own.
    sequences = PerPosition()
    trainer = Trainer(sequences, Sequences(), AdamW(sequences.parameters(), lr=0.02))
    history = trainer.fit(previous_token(1000, 0), previous_token(200, 1), epochs=10)
    third = history.epochs[-1]["valid"]
    assert history.epochs[0]["valid"]["whole"] < 0.5 < 0.95 < third["whole"]
    assert "accuracy" not in third
    assert first.keys() != second.keys() != third.keys()


def test_intro_01_the_engine_has_no_branch_for_a_task() -> None:
    """No name or text in the code of the engine is that of a kind of data or of task."""
    folder = Path(sys.modules[Trainer.__module__].__file__ or "").parent
    words = re.compile(
        r"(images?|tables?|audio|graphs?|class(es|ify|ification)|regression|logits)", re.I
    )
    found = []
    for path in sorted(folder.glob("*.py")):
        tokens = list(tokenize.generate_tokens(io.StringIO(path.read_text()).readline))
        for token in tokens:
            code = token.type in (tokenize.NAME, tokenize.STRING)
            if code and words.fullmatch(token.string.strip("'\"")):
                found.append(f"{path.name}:{token.start[0]} {token.string}")
    assert found == []


SETTINGS: dict[str, Any] = {
    "batch_size": 32,
    "optimizer": "AdamW(lr=0.01)",
    "schedule": "OneCycle()",
    "seed": 0,
    "device": "cpu",
    "report": False,
    "quiet": True,
}


def test_intro_14_fit_predict_score_on_a_table_images_and_sequences(tmp_path: Path) -> None:
    """One set of settings; the scores are those that scikit-learn gives to the predictions."""
    table = load_builtin("diabetes")
    run = fitwell.train("diabetes", run=tmp_path / "table", epochs=40, **SETTINGS)
    assert table.test is not None
    assert table.test.targets is not None
    answers = run.predict(table.test)
    assert run.result["test"]["mse"] == pytest.approx(
        mean_squared_error(table.test.targets, answers.values), rel=1e-5
    )
    assert run.result["test"]["r2"] > 0.1

    images = load_builtin("digits")
    run = fitwell.train("digits", model="MLP()", run=tmp_path / "images", epochs=5, **SETTINGS)
    assert images.test is not None
    assert images.test.targets is not None
    answers = run.predict(images.test)
    accuracy = accuracy_score(images.test.targets, answers.values)
    assert run.result["test"]["accuracy"] == accuracy > 0.9

    generator = np.random.default_rng(0)
    waves = generator.normal(size=(600, 30)).cumsum(axis=1)[:, :, None].repeat(2, axis=2)
    ends_high = (waves[:, -1, 0] > 0).astype(int)
    names = ["low", "high"]
    splits = fitwell.data.load_arrays(waves, ends_high, class_names=names)
    run = fitwell.train(splits, model=LastState, run=tmp_path / "waves", epochs=5, **SETTINGS)
    assert run.result["task"] == "tensor"
    assert splits.test is not None
    assert splits.test.targets is not None
    answers = run.predict(splits.test.inputs.numpy())
    accuracy = accuracy_score(splits.test.targets, answers.values)
    assert run.result["test"]["accuracy"] == accuracy > 0.9
    assert set(answers.words("names")) == {"low", "high"}


class LastState(nn.Module):
    """Reads a sequence of pairs and answers from its last state."""

    def __init__(self, out_features: int) -> None:
        super().__init__()
        self.read = nn.GRU(2, 16, batch_first=True)
        self.answer = nn.Linear(16, out_features)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.answer(self.read(x)[0][:, -1])
        return answer


NOISE = 0.35


def clusters(order: list[int], count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Three round clusters at the corners of an equal-sided triangle; `order` numbers them."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 3, (count,), generator=generator)
    angle = corner * (2 * torch.pi / 3)
    centers = torch.stack([angle.cos(), angle.sin()], dim=1)
    x = centers + NOISE * torch.randn(count, 2, generator=generator)
    return x, torch.tensor(order)[corner]


def fitted(x: Tensor, targets: Tensor, outputs: int) -> nn.Module:
    """A linear model, by the one engine: only the coding of the target differs."""
    torch.manual_seed(0)
    kind: Any = "number" if outputs == 1 else "class"
    names = () if outputs == 1 else ("a", "b", "c")
    schema = Schema(kind="tensor", input_shape=(2,), target_kind=kind, class_names=names)
    wanted = targets.float() if outputs == 1 else targets
    examples = Examples(inputs=x, targets=wanted, schema=schema)
    model = nn.Sequential(MLP(2, outputs, hidden=()), *([nn.Flatten(0)] if outputs == 1 else []))
    loss = F.mse_loss if outputs == 1 else F.cross_entropy
    trainer = Trainer(model, Supervised(loss), SGD(model.parameters(), lr=0.1), schedule=Cosine())
    trainer.fit(Batches(examples, 50, shuffle=True), epochs=20)
    return model


def share_right_as_number() -> float:
    """The closed form: least squares onto the line between the clusters called 0 and 2."""
    spread = 1 / 2  # of the corners along that line, whose length is the root of 3
    kept = spread / (spread + NOISE**2)  # noise in the inputs flattens the line
    deviation = kept * NOISE * 2 / 3**0.5
    middle = 2 * tail(0.5 / deviation)
    end = tail((0.5 - (1 - kept)) / deviation)
    return 1 - (middle + 2 * end) / 3


def tail(z: float) -> float:
    return math.erfc(z / 2**0.5) / 2


@pytest.mark.parametrize("order", [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
def test_cls_03_a_class_as_a_number_loses_to_one_hot(order: list[int]) -> None:
    """No cluster lies between the other two, but as numbers one of them has to. Of 100 points,
    linear models with one-hot targets get at least 97 right and with numbers 10 fewer or worse."""
    x, y = clusters(order, 1000, seed=0)
    x_new, y_new = clusters(order, 5000, seed=1)
    one_hot = (fitted(x, y, 3)(x_new).argmax(dim=1) == y_new).float().mean().item()
    guessed = fitted(x, y, 1)(x_new).detach().round().clamp(0, 2)
    number = (guessed == y_new).float().mean().item()
    assert one_hot > 0.97
    assert number < one_hot - 0.10
    # Three standard deviations of 5,000 draws, and as much again for the fit to 1,000.
    assert number == pytest.approx(share_right_as_number(), abs=0.03)


def test_pt_20_outputs_are_collected_on_the_cpu_in_order() -> None:
    examples = load_builtin("wine").train
    torch.manual_seed(0)
    model = MLP(13, 3, hidden=(4,))
    collected = outputs_of(model, Batches(examples, 7))
    assert collected.device.type == "cpu"
    with torch.no_grad():
        whole = model.eval()(examples.inputs)
    # float32 products in batches of another size
    torch.testing.assert_close(collected, whole, rtol=1e-5, atol=1e-5)
