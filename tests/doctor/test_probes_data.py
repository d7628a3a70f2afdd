"""Probes of the data: a planted fault is found, its healthy twin is not accused."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fitwell.core.errors import UsageError
from fitwell.data import Examples, Schema
from fitwell.doctor import adversarial_validation, duplicates, state_digest
from fitwell.doctor._probes._classifiers import auc, auc_interval


def table(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 4))
    x[:, 2] += shift
    return x, (x[:, 0] + 0.3 * random.normal(size=count) > 0).astype(np.int64)


def pictures(count: int, seed: int) -> Examples:
    random = torch.Generator().manual_seed(seed)
    inputs = torch.randint(256, (count, 1, 12, 12), generator=random, dtype=torch.uint8)
    schema = Schema(
        kind="images", input_shape=(1, 12, 12), target_kind="class", class_names=("a", "b")
    )
    targets = torch.randint(2, (count,), generator=random)
    return Examples(inputs=inputs, targets=targets, schema=schema)


# AUC


@given(
    scores=st.lists(st.integers(0, 5), min_size=2, max_size=30),
    seed=st.integers(0, 10),
)
@settings(max_examples=50, deadline=None)
def test_auc_is_the_share_of_ordered_pairs(scores: list[int], seed: int) -> None:
    positive = np.random.default_rng(seed).random(len(scores)) < 0.5
    positive[:2] = [True, False]
    pairs = product(np.array(scores)[positive], np.array(scores)[~positive])
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs]
    assert auc(np.array(scores, dtype=float), positive) == pytest.approx(np.mean(won))


def test_the_interval_of_an_auc_covers_it() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(400):  # two normals 1 apart: the AUC is Φ(1 / √2)
        scores = np.concatenate([random.normal(1, 1, 30), random.normal(0, 1, 40)])
        positive = np.arange(70) < 30
        low, high = auc_interval(auc(scores, positive), 30, 40)
        covered += low <= 0.760250 <= high
    assert 0.92 <= covered / 400 <= 0.98
    low, high = auc_interval(1.0, 20, 20)
    assert 0.7 < low < high == 1.0


# Adversarial validation


@pytest.mark.parametrize("classifier", ["logistic", "boosting"])
def test_a_shift_is_found_and_named_and_a_random_cut_is_not_accused(classifier: str) -> None:
    few = {"classifier": classifier, "folds": 2}
    healthy = adversarial_validation(table(300, 1), table(300, 2), **few)  # type: ignore[arg-type]
    shifted = adversarial_validation(table(300, 1), table(300, 2, 1.0), **few)  # type: ignore[arg-type]
    assert healthy.found is not True
    assert abs(healthy.value - 0.5) < 0.08
    assert shifted.found is True
    # One column moved by one deviation: no classifier is above Φ(1 / √2) = 0.76.
    assert 0.65 < shifted.value < 0.80
    assert shifted.interval[0] < shifted.value < shifted.interval[1]
    assert shifted.columns[0][0] == "column 2"
    assert shifted.columns[0][1] == pytest.approx(0.76, abs=0.06)
    assert shifted.control == pytest.approx(0.5, abs=0.05)
    assert max(shifted.permuted) < shifted.value
    assert shifted.p_value == pytest.approx(1 / 20)
    assert "column 2" in shifted.conclusion
    foreign = table(300, 2, 1.0)[0][list(shifted.examples), 2]
    assert foreign.mean() > 1.5


def test_false_alarms_are_as_rare_as_stated() -> None:
    alarms = 0
    for seed in range(10):
        x = np.random.default_rng(seed).normal(size=(60, 2))
        found = adversarial_validation(x[:30], x[30:], classifier="logistic", folds=2, seed=seed)
        alarms += found.found is True
    assert alarms <= 2  # of 10 at 5%: more by chance once in 87


def test_pairs_show_what_the_inputs_hide() -> None:
    x, y = table(200, 3)
    other, labels = table(200, 4)
    inputs = adversarial_validation(x, other, classifier="logistic")
    few = {"on": "pairs", "classifier": "logistic", "folds": 2}
    flipped = adversarial_validation((x, y), (other, 1 - labels), **few)  # type: ignore[arg-type]
    same = adversarial_validation((x, y), (other, labels), **few)  # type: ignore[arg-type]
    assert inputs.found is not True
    assert same.found is not True
    assert flipped.found is True
    assert flipped.columns[0][0] == "surprise at the target"


def test_pairs_of_numbers() -> None:
    x, _ = table(300, 3)
    other, _ = table(300, 4)
    same = adversarial_validation(
        (x, x[:, 0]), (other, other[:, 0]), on="pairs", classifier="logistic", folds=2
    )
    moved = adversarial_validation(
        (x, x[:, 0]), (other, -other[:, 0]), on="pairs", classifier="logistic", folds=2
    )
    assert same.found is not True
    assert moved.found is True
    assert moved.columns[0][0] == "size of that error"


def test_features_of_a_model_show_what_the_model_sees_and_leave_it_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    with torch.no_grad():
        model[0].weight[:, 2] = 0  # blind for the column that moves
    parts = [table(300, 1)[0].astype(np.float32), table(300, 2, 2.0)[0].astype(np.float32)]
    before = state_digest(model)
    blind = adversarial_validation(*parts, on="features", model=model, classifier="logistic")
    seen = adversarial_validation(*parts, classifier="logistic")
    assert state_digest(model) == before
    assert blind.found is not True
    assert seen.found is True


def test_pictures_are_seen_as_fields_and_statistics() -> None:
    one, other = pictures(120, 0), pictures(120, 1)
    darker = Examples(inputs=other.inputs // 2, targets=other.targets, schema=other.schema)
    assert adversarial_validation(one, other, classifier="logistic", folds=2).found is not True
    found = adversarial_validation(one, darker, classifier="logistic", folds=2)
    assert found.found is True
    assert found.value > 0.99
    assert found.interval[0] < 0.99  # an interval even at the end


def test_too_few_rows_are_no_evidence() -> None:
    found = adversarial_validation(table(6, 1), table(6, 2), permutations=5)
    assert found.found is None
    assert "Insufficient evidence" in str(found)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"on": "features"}, "`model` must be given"),
        ({"on": "pairs"}, "both parts must have targets"),
        ({"folds": 1}, "`folds` must be at least 2"),
        ({"folds": 30}, "both parts must have at least 60 rows"),
        ({"classifier": "trees"}, "`classifier` must be"),
        ({"on": "everything"}, "`on` must be"),
    ],
)
def test_wrong_arguments_of_adversarial_validation(change: dict[str, object], match: str) -> None:
    with pytest.raises(UsageError, match=match):
        adversarial_validation(table(30, 1)[0], table(30, 2)[0], **change)  # type: ignore[arg-type]


def test_parts_of_other_columns_are_refused() -> None:
    with pytest.raises(UsageError, match="must have the columns of `train`; got 3 for 4"):
        adversarial_validation(table(30, 1)[0], table(30, 2)[0][:, :3])
    with pytest.raises(UsageError, match="one row per example"):
        adversarial_validation([1.0, 2.0], [1.0])


# Duplicates


def test_copies_in_a_table_are_found_where_they_are() -> None:
    x, y = table(200, 1)
    other, labels = table(100, 2)
    other[7], labels[7] = x[30], 1 - y[30]  # exact, with another label
    other[9] = x[31] * (1 + 1e-7)  # nearly
    other[11, 0] = x[32, 0]  # one column alone
    found = duplicates((x, y), (other, labels))
    (overlap,) = found.overlaps
    assert found.found is True
    assert (overlap.exact, overlap.near) == (1, 1)
    assert overlap.pairs == ((7, 30), (9, 31))
    assert overlap.relabelled in (1, 2)
    assert found.value == 0.02
    assert found.interval[0] < 0.02 < found.interval[1]
    assert found.control == 0
    assert found.within.share == 0
    assert "remove them" in found.conclusion


@given(
    train=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20),
    valid=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=20),
)
@settings(max_examples=40, deadline=None)
def test_exact_copies_equal_brute_force(
    train: list[tuple[int, int]], valid: list[tuple[int, int]]
) -> None:
    found = duplicates(np.array(train, dtype=np.float32), np.array(valid, dtype=np.float32))
    assert found.overlaps[0].exact == sum(row in train for row in valid)
    assert found.within.exact == sum(train.count(row) > 1 for row in train)
    for place, twin in found.overlaps[0].pairs:
        assert valid[place] == train[twin]


def test_coarse_rows_that_agree_by_chance_are_no_leak() -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 3, size=(300, 2)).astype(np.float32)
    found = duplicates(coarse[:200], coarse[200:])
    assert found.value > 0.9
    assert found.control > 0.9
    assert found.found is None


def test_nearly_equal_pictures_equal_brute_force() -> None:
    train, valid = pictures(60, 0), pictures(40, 1)
    inputs = valid.inputs.clone()
    inputs[3] = train.inputs[11]
    inputs[4] = (train.inputs[12].float() * 0.8 + 20).to(torch.uint8)  # darker
    noise = torch.randn(1, 12, 12, generator=torch.Generator().manual_seed(5))
    inputs[5] = (train.inputs[13].float() + 2 * noise).clamp(0, 255).to(torch.uint8)
    planted = Examples(inputs=inputs, targets=valid.targets, schema=valid.schema)
    found = duplicates(train, planted)
    (overlap,) = found.overlaps
    assert (overlap.exact, overlap.near) == (1, 2)
    assert set(overlap.pairs) == {(3, 11), (4, 12), (5, 13)}
    assert found.found is True

    small = [
        torch.nn.functional.adaptive_avg_pool2d(p.inputs.float(), 8).flatten(1).numpy()
        for p in (train, planted)
    ]
    alike = np.array([[np.corrcoef(a, b)[0, 1] for b in small[0]] for a in small[1]])
    assert (alike.max(axis=1) >= 0.995).sum() == 3

    healthy = duplicates(train, valid, pictures(40, 2))
    assert healthy.value == 0
    assert healthy.found is None  # none of 40 does not exclude one in twenty
    assert [o.part for o in healthy.overlaps] == ["valid", "test"]
    many = duplicates(train, pictures(100, 3))
    assert many.found is False


def test_a_set_that_repeats_itself_is_told_from_a_leak() -> None:
    x, _ = table(150, 1)
    twice = np.concatenate([x, x])[np.random.default_rng(0).permutation(300)]
    found = duplicates(twice[:200], twice[200:])
    assert found.found is True
    assert "cut the parts by group" in found.conclusion


def test_missing_values_and_signed_zeros_are_equal() -> None:
    train = np.array([[np.nan, 0.0], [1.0, 2.0]])
    valid = np.array([[np.nan, -0.0]])
    assert duplicates(train, valid).overlaps[0].pairs == ((0, 0),)


def test_parts_are_called_as_the_caller_calls_them() -> None:
    x, _ = table(200, 1)
    found = duplicates(x, x[:100], names=("new.csv",))
    assert found.found is True
    assert "100 of 100 rows of new.csv are in the training part" in str(found)
    both = duplicates(x, table(100, 2)[0], x[:50], names=["new.csv", "old.csv"])
    assert [overlap.part for overlap in both.overlaps] == ["new.csv", "old.csv"]
    assert "50 of 50 rows of old.csv" in str(both)
    with pytest.raises(UsageError, match=r"rows of `new\.csv` must have the shape"):
        duplicates(x, x[:, :2], names=("new.csv",))


def test_tensors_that_remember_their_history_are_rows_as_well() -> None:
    x, y = (torch.from_numpy(part).float().requires_grad_() for part in table(60, 1))
    found = duplicates((x, y), (x * 1, y * 1))
    assert (found.value, found.overlaps[0].relabelled) == (1.0, 0)
    half = duplicates((x.bfloat16(), y.bfloat16()), (x.bfloat16(), 1 - y.bfloat16()))
    assert (half.value, half.overlaps[0].relabelled) == (1.0, 60)


def test_wrong_arguments_of_duplicates() -> None:
    for names in (("valid",), ("valid", "valid"), "valid"):
        with pytest.raises(UsageError, match="`names` must be a list with another name for each"):
            duplicates(*(table(10, seed)[0] for seed in (1, 2, 3)), names=names)
    with pytest.raises(UsageError, match="`similarity` must lie in"):
        duplicates(table(10, 1)[0], table(10, 2)[0], similarity=2.0)
    with pytest.raises(UsageError, match="must have the shape of those of `train`"):
        duplicates(table(10, 1)[0], table(10, 2)[0][:, :2])


# All


def test_results_are_plain_data_sentences_and_pictures() -> None:
    results = [
        adversarial_validation(table(30, 1), table(30, 2), classifier="logistic", permutations=2),
        duplicates(table(30, 1), table(30, 2)),
    ]
    for result in results:
        plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert plain["conclusion"] == str(result)
        assert str(result).endswith(".")
        assert plain["interval"][0] <= plain["value"] <= plain["interval"][1]
        assert len(result.figure().axes[0].get_yticklabels()) >= 3
