"""`--views` of `evaluate` and `predict`: the same views, their gain with an interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fitwell
from fitwell.core.errors import UsageError
from fitwell.data import Batches, augmentation
from fitwell.report import pair_answers
from fitwell.tasks import open_source
from fitwell.train import Run, outputs_of, outputs_of_views
from fitwell.verbs._views import ViewGain

from .runs import call, quick, rows_of


@pytest.fixture(scope="module")
def cropped(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("views") / "run"
    model = "CNN(widths=(8, 16), convs=1)"
    return quick("digits", run=folder, model=model, augment="Crop(padding=1)", epochs=3, seed=3)


def test_hw3_04_the_gain_comes_with_its_interval(cropped: Run, capsys: Any) -> None:
    words = ["evaluate", cropped.folder, "--views", "4", "--plain-weight", "0.4"]
    code, result, _ = call(capsys, *words)
    assert code == 0
    assert result["test"] == cropped.result["test"]  # without views, as ever
    assert result["views"].keys() == {"valid", "test"}
    source = open_source("digits", None, {}).splits
    test = source.parts()["test"]
    network, data = cropped.model(), Batches(test, 256)
    augment = augmentation("Crop(padding=1)")
    assert augment is not None
    averaged = outputs_of_views(network, data, augment=augment, views=4, seed=3, plain_weight=0.4)
    loss = nn.functional.cross_entropy(averaged, test.targets).item()
    right = averaged.argmax(1) == test.targets
    plain = outputs_of(network, data).argmax(1) == test.targets
    found = result["views"]["test"]
    assert found["scores"]["loss"] == pytest.approx(loss, rel=1e-5)
    assert found["scores"]["accuracy"] == pytest.approx(right.double().mean().item())
    paired = found["paired"]
    gain = (right.double().mean() - plain.double().mean()).item()
    assert paired["difference"] == pytest.approx(gain)
    assert paired["first_better"] == int((right & ~plain).sum())
    assert paired["interval"][0] <= paired["difference"] <= paired["interval"][1]
    assert "the mean of 5 views is right on" in paired["words"] or gain <= 0


def test_the_readable_form_has_both(cropped: Run) -> None:
    text = str(fitwell.evaluate(cropped, views=2, combine="vote"))
    assert "test     with views: " in text
    assert "95% interval" in text
    assert "train    with views" not in text


def test_predict_answers_with_the_same_views(cropped: Run, tmp_path: Path) -> None:
    x = torch.rand(20, 1, 8, 8)
    options: dict[str, Any] = {"views": 3, "augment": "Crop(padding=2)", "combine": "probs"}
    fitwell.predict(cropped, x, output=tmp_path / "views.csv", probs=True, **options)
    fitwell.predict(cropped, x, output=tmp_path / "plain.csv", probs=True)
    augment = augmentation("Crop(padding=2)")
    assert augment is not None
    data = Batches(cropped.read(x), 256)
    outputs = outputs_of_views(
        cropped.model(), data, augment=augment, views=3, seed=3, combine="probs"
    )
    found = [[float(cell) for cell in row[2:]] for row in rows_of(tmp_path / "views.csv")[1:]]
    torch.testing.assert_close(torch.tensor(found), outputs.exp(), rtol=1e-4, atol=1e-6)
    assert rows_of(tmp_path / "plain.csv") != rows_of(tmp_path / "views.csv")


def test_the_seed_of_the_run_makes_the_views(cropped: Run) -> None:
    first, second = (fitwell.evaluate(cropped, views=2).to_dict()["views"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"views": 2}, "`augment` must name how views differ; the run was trained with none, got"),
        ({"views": 2, "augment": "none"}, "`augment` must name how views differ; .* got none"),
        ({"views": 2, "augment": "Mixup()"}, r"`augment` must name how .* got Mixup\(\)"),
        ({"augment": "Crop()"}, "`views` must be positive to use `augment`; got 0. Add --views 8"),
        ({"plain_weight": 0.5}, "`views` must be positive to use `plain_weight`; got 0"),
        ({"views": -1}, "`views` must not be negative; got -1"),
        ({"views": 1, "plain_weight": 2.0}, r"`plain_weight` must lie in 0 \.\.\. 1; got 2.0"),
    ],
)
def test_views_without_a_way_to_differ_are_refused(
    digits: Run, given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=f"evaluate: {message}"):
        fitwell.evaluate(digits, **given)
    with pytest.raises(UsageError, match=f"predict: {message}"):
        fitwell.predict(digits, torch.rand(2, 1, 8, 8), output=tmp_path / "p.csv", **given)


def test_tables_and_sets_have_no_views(prices: Run, cropped: Run, house_file: Path) -> None:
    with pytest.raises(UsageError, match="`views` must be left out for inputs of shape"):
        fitwell.evaluate(prices, views=2, augment="Crop()")
    with pytest.raises(UsageError, match="`sets` must be left out with `views`"):
        fitwell.predict(cropped, torch.rand(2, 1, 8, 8), views=2, sets=0.1)


def test_numbers_are_paired_by_their_errors(tmp_path: Path) -> None:
    x = torch.rand(60, 1, 8, 8)
    data = (x, x.mean((1, 2, 3)) + 0.1 * x[:, 0, 0, 0])
    run = quick(data, run=tmp_path / "run", augment="Flip()")
    found = fitwell.evaluate(run, data, views=2).views["test"].paired
    assert found is not None
    assert found.metric == "rmse"
    with pytest.raises(UsageError, match="`combine` must be logits when the target is a number"):
        fitwell.evaluate(run, data, views=2, combine="vote")


def test_answers_that_are_not_finite_are_not_paired() -> None:
    options: dict[str, Any] = {"target": [1.0, 2.0], "second": [1.0, 2.0], "by_number": True}
    assert pair_answers(("a", "b"), "test", first=[float("nan"), 2.0], **options) is None
    gain = ViewGain(scores={"loss": 1.0}, paired=None)
    assert gain.to_dict() == {"scores": {"loss": 1.0}, "paired": None}
