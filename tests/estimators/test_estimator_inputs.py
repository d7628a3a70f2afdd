"""What the estimators read: NumPy, torch, pandas, images; and how they say what they cannot."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fitwell import Classifier, Regressor
from fitwell.core.errors import DataError, UsageError
from fitwell.nn import CNN

QUICK: dict[str, Any] = {"epochs": 3, "random_state": 0}
LINEAR: dict[str, Any] = {"model": "Linear()", **QUICK}


def table(count: int = 60) -> tuple[Any, Any]:
    x = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_torch_tensors_give_what_arrays_give(dtype: torch.dtype) -> None:
    x, y = table()
    expected = Classifier(**LINEAR).fit(x, y).predict_proba(x)
    tensor = torch.from_numpy(x).to(dtype).requires_grad_()
    found = Classifier(**LINEAR).fit(tensor, torch.from_numpy(y))
    np.testing.assert_array_equal(found.predict_proba(tensor), expected)


def test_half_precision_and_lists_are_read() -> None:
    x, y = table()
    half = torch.from_numpy(x).bfloat16()
    expected = Classifier(**LINEAR).fit(half.float().numpy(), y).predict_proba(x)
    np.testing.assert_array_equal(Classifier(**LINEAR).fit(half, y).predict_proba(x), expected)
    listed = Classifier(**LINEAR).fit(x.tolist(), y.tolist()).predict_proba(x.tolist())
    np.testing.assert_array_equal(listed, Classifier(**LINEAR).fit(x, y).predict_proba(x))


def test_a_missing_number_is_the_mean_with_a_mark() -> None:
    x, y = table()
    x[::5, 1] = np.nan
    model = Classifier(**LINEAR).fit(x, y)
    assert model.model_.prepare.out_features == 3 + 1
    assert np.isfinite(model.predict_proba(x)).all()
    x[0, 0] = np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        model.predict(x)


def cities() -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    city = np.array(["Tainan", "Taipei", "Hualien"])[random.integers(3, size=90)]
    frame = pd.DataFrame(
        {
            "city": pd.Series(city).where(random.random(90) > 0.1),
            "area": random.normal(size=90),
            "rooms": pd.array(random.integers(1, 5, size=90), dtype="Int64"),
            "old": random.random(90) > 0.5,
            "grade": pd.Categorical(random.integers(2, size=90)),
        }
    )
    frame.loc[3, "rooms"] = pd.NA
    frame.loc[4, "grade"] = np.nan
    return frame, city


def test_columns_of_text_and_categories_are_looked_up() -> None:
    frame, city = cities()
    model = Classifier(lr=0.02, epochs=20, random_state=0).fit(frame, city == "Taipei")
    columns = model._network.schema.columns
    assert [column.kind for column in columns] == [
        "category",
        "number",
        "number",
        "number",
        "category",
    ]
    assert columns[0].categories == ("Hualien", "Tainan", "Taipei")
    assert columns[4].categories == ("0", "1")
    assert list(model.feature_names_in_) == list(frame.columns)
    known = frame["city"].notna().to_numpy()
    assert model.score(frame[known], (city == "Taipei")[known]) > 0.95


def test_an_unseen_category_is_a_missing_one() -> None:
    frame, city = cities()
    model = Classifier(**QUICK).fit(frame, city)
    missing, unseen = frame.assign(city=None), frame.assign(city="Keelung")
    np.testing.assert_array_equal(model.predict_proba(unseen), model.predict_proba(missing))
    assert np.abs(model.predict_proba(frame) - model.predict_proba(missing)).max() > 0.01


def test_the_order_of_rows_and_an_array_of_objects_change_nothing() -> None:
    frame, city = cities()
    model = Classifier(**QUICK).fit(frame, city)
    expected = model.predict_proba(frame)
    np.testing.assert_array_equal(model.predict_proba(frame[::-1])[::-1], expected)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        found = model.predict_proba(frame.to_numpy(dtype=object))
    np.testing.assert_array_equal(found, expected)


def test_other_columns_than_in_fit_are_refused() -> None:
    frame, city = cities()
    model = Classifier(**QUICK).fit(frame, city)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[frame.columns[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.drop(columns="city"))


def test_dates_are_refused_with_advice() -> None:
    frame, city = cities()
    frame["when"] = pd.date_range("2020-01-01", periods=90)
    with pytest.raises(UsageError, match=r"got dates or times in column 'when'\. Replace it"):
        Classifier().fit(frame, city)


def test_a_frame_of_numbers_is_the_array_with_names() -> None:
    x, y = table()
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    model = Classifier(**LINEAR).fit(frame, pd.Series(y))
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    expected = Classifier(**LINEAR).fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(model.predict_proba(frame), expected)


@pytest.fixture(scope="module")
def pictures() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    x = random.integers(0, 100, size=(64, 8, 8, 3), dtype=np.uint8)
    y = random.integers(2, size=64)
    x[y == 1, :4] += 100
    return x, y


def test_images_take_the_recipe_for_images(pictures: tuple[Any, Any]) -> None:
    x, y = pictures
    model = Classifier(epochs=4, batch_size=8, random_state=0).fit(x, y)
    assert isinstance(model.model_.body, CNN)
    assert model.score(x, y) > 0.95
    assert model.predict_proba(x[:5]).shape == (5, 2)


def test_channels_may_come_first_or_last(pictures: tuple[Any, Any]) -> None:
    x, y = pictures
    first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    expected = Classifier(**LINEAR).fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(Classifier(**LINEAR).fit(first, y).predict_proba(first), expected)
    tensor = torch.from_numpy(first)
    np.testing.assert_array_equal(
        Classifier(**LINEAR).fit(tensor, y).predict_proba(tensor), expected
    )


def test_gray_images_may_leave_out_the_channel(pictures: tuple[Any, Any]) -> None:
    gray, y = pictures[0][..., 0], pictures[1]
    expected = Classifier(**LINEAR).fit(gray[:, None], y).predict_proba(gray[:, None])
    found = Classifier(**LINEAR).fit(gray, y).predict_proba(gray)
    np.testing.assert_array_equal(found, expected)


def test_floats_of_any_shape_are_read_and_numbers_predicted(pictures: tuple[Any, Any]) -> None:
    x, y = pictures
    floats = (x.transpose(0, 3, 1, 2) / 255).astype(np.float32)
    model = Regressor("CNN(widths=(4,))", epochs=2, random_state=0).fit(floats, y + 0.5)
    assert model.predict(floats).shape == (64,)
    floats[2, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"`inputs`, row 2: the value at .* is nan"):
        model.predict(floats)


def test_inputs_of_another_kind_than_in_fit_are_refused(pictures: tuple[Any, Any]) -> None:
    x, y = pictures
    model = Classifier(**LINEAR).fit(x, y)
    with pytest.raises(UsageError, match=r"must be images of shape .* got tensor .* float32"):
        model.predict(x / 255)
    with pytest.raises(UsageError, match=r"must be images of shape \(N, \*\(3, 8, 8\)\)"):
        model.predict(x[:, :, :7])


@pytest.mark.parametrize(
    "labels",
    [["no", "yes"], [False, True], [-3, 7], [0.0, 1.0], np.array(["a", "b"], dtype=object)],
    ids=str,
)
def test_classes_come_back_as_they_were(labels: Any) -> None:
    x, y = table()
    targets = np.asarray(labels)[y]
    model = Classifier("Linear()", lr=0.05, epochs=20, random_state=0).fit(x, targets)
    assert model.classes_.dtype == targets.dtype
    assert (model.predict(x) == targets).mean() > 0.95


def test_one_class_is_always_predicted() -> None:
    x, y = table()
    model = Classifier(**LINEAR).fit(x, np.full(len(y), "all"))
    assert set(model.predict(x)) == {"all"}
    np.testing.assert_array_equal(model.predict_proba(x), np.ones((len(x), 1)))
