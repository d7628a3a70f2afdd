"""Temperature and sets of classes: learned from the validation part, measured on the test part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import fitwell
from fitwell.core.errors import RunError, UsageError
from fitwell.data import Batches, Examples
from fitwell.metrics import calibration, conformal, fit_temperature, score_sets
from fitwell.tasks import open_source
from fitwell.train import Run, outputs_of
from fitwell.verbs._confidence import fit_confidence, read_confidence

from .runs import call, copied, houses, rows_of

CLOSE = 1e-5  # float32 outputs of batches of another size


@pytest.fixture(scope="module")
def parts() -> dict[str, Examples]:
    return open_source("digits").splits.parts()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return houses(tmp_path_factory.mktemp("tables") / "bare.csv", 40, 700, ("price", "kind"))


def outputs(run: Run, part: Examples) -> tuple[Tensor, Tensor]:
    assert part.targets is not None
    return outputs_of(run.model(), Batches(part, 256)), part.targets


def test_what_is_recorded_is_fitted_to_valid_and_measured_on_test(
    digits: Run, parts: dict[str, Examples]
) -> None:
    evaluated = digits.read_json("evaluation.json")
    assert evaluated is not None
    found = evaluated["calibration"]
    valid, test = outputs(digits, parts["valid"]), outputs(digits, parts["test"])
    temperature = fit_temperature(*valid)
    assert temperature.value != 1
    rule = conformal(temperature.probs(valid[0]), valid[1], alpha=0.1)
    probs = temperature.probs(test[0])
    assert found["temperature"]["value"] == pytest.approx(temperature.value, rel=CLOSE)
    assert found["temperature"]["fitted_on"] == len(valid[1])
    loss = torch.nn.functional.cross_entropy(test[0] / temperature.value, test[1]).item()
    assert found["temperature"]["loss_after"] == pytest.approx(loss, rel=CLOSE)
    assert found["scaled"]["ece"] == pytest.approx(calibration(probs, test[1]).ece, abs=CLOSE)
    expected = score_sets(rule.sets(probs), test[1])
    assert found["conformal"]["threshold"] == pytest.approx(rule.threshold, rel=CLOSE)
    assert found["conformal"]["covered"] == pytest.approx(expected.covered, abs=1)
    low, high = found["conformal"]["coverage_interval"]
    assert low < found["conformal"]["coverage"] < high
    assert high > 0.9


def test_stored_scores_give_the_rule_for_any_share(digits: Run, parts: dict[str, Examples]) -> None:
    stored = read_confidence(digits)
    logits, targets = outputs(digits, parts["valid"])
    probs = stored.temperature.probs(logits)
    for alpha in (0.01, 0.1, 0.5):
        expected = conformal(probs, targets, alpha=alpha)
        assert stored.rule(alpha).threshold == pytest.approx(expected.threshold, rel=CLOSE)
    assert stored.temperature.count == len(targets)


def test_numbers_and_broken_outputs_have_no_confidence(prices: Run) -> None:
    assert not (prices.folder / "calibration.npz").exists()
    assert fit_confidence(torch.tensor([[float("nan"), 0.0]]), torch.tensor([0])) is None


@pytest.mark.parametrize("labels", ["names", "indices"])
def test_sets_and_confidence_are_columns_beside_the_same_answers(
    kinds: Run, bare: Path, tmp_path: Path, labels: Any
) -> None:
    fitwell.predict(kinds.folder, bare, output=tmp_path / "plain.csv", labels=labels)
    written = fitwell.predict(
        kinds.folder, bare, output=tmp_path / "sets.csv", labels=labels, sets=0.2
    )
    assert written.header == ("id", "kind", "set", "confidence")
    plain, rows = rows_of(tmp_path / "plain.csv"), rows_of(tmp_path / "sets.csv")
    assert [row[:2] for row in rows] == plain
    stored, logits = read_confidence(kinds), outputs_of(kinds.model(), Batches(kinds.read(bare), 9))
    probs = stored.temperature.probs(logits)
    names = kinds.schema.class_names if labels == "names" else ("0", "1")
    for row, inside, sure in zip(rows[1:], stored.rule(0.2).sets(probs), probs, strict=True):
        assert row[2] == "|".join(name for name, is_in in zip(names, inside, strict=True) if is_in)
        assert float(row[3]) == pytest.approx(float(sure.max()), rel=1e-4)


def test_sets_grow_with_the_promise(kinds: Run, bare: Path, tmp_path: Path, capsys: Any) -> None:
    sizes = []
    for share in ("0.5", "0.2", "0.001"):
        out = tmp_path / f"{share}.csv"
        code, _, _ = call(capsys, "predict", kinds.folder, bare, "--output", out, "--sets", share)
        assert code == 0
        sizes.append([len(row[2].split("|")) if row[2] else 0 for row in rows_of(out)[1:]])
    assert sum(sizes[0]) < sum(sizes[1]) <= sum(sizes[2])
    assert set(sizes[2]) == {2}  # too few validation examples for one miss in a thousand


def test_what_cannot_be_is_refused_before_anything_is_read(
    kinds: Run, prices: Run, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere.csv"
    with pytest.raises(UsageError, match="`sets` must be left out when the target is a number"):
        fitwell.predict(prices.folder, nowhere, sets=0.1)
    with pytest.raises(UsageError, match=r"`sets` must lie in \(0, 1\).*; got 2"):
        fitwell.predict(kinds.folder, nowhere, sets=2)
    older = copied(kinds, tmp_path / "older")
    (older / "calibration.npz").write_bytes(b"torn")
    with pytest.raises(RunError, match=r"calibration\.npz: is damaged"):
        fitwell.predict(older, nowhere, sets=0.1)
    (older / "calibration.npz").unlink()
    with pytest.raises(RunError, match=r"older: has no calibration\.npz, .*fitwell resume"):
        fitwell.predict(older, nowhere, sets=0.1)


def test_a_class_with_the_separator_in_its_name_needs_indices(
    kinds: Run, bare: Path, tmp_path: Path
) -> None:
    run = fitwell.open_run(copied(kinds, tmp_path / "run"))
    run.update(schema={**run.manifest["schema"], "class_names": ["a|b", "c"]})
    with pytest.raises(UsageError, match=r"`labels` must be indices .*--labels indices"):
        fitwell.predict(run.folder, bare, sets=0.1)
