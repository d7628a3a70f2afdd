"""What training records for the report: one pass, the data card, errors, calibration, memory."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fitwell
from fitwell.data import Batches, Column, Examples, Schema, Splits
from fitwell.losses import CrossEntropy
from fitwell.metrics import Classification, calibration
from fitwell.optim import SGD
from fitwell.report import render_report
from fitwell.train import Run, Supervised, Trainer, outputs_of
from fitwell.verbs._data_card import data_card
from fitwell.verbs._measure import evaluate_with_outputs, peak_memory

MEGABYTE = 10**6


def record(run: Run, name: str) -> dict[str, Any]:
    found = run.read_json(name)
    assert found is not None
    return found


def classes(count: int, shape: tuple[int, ...], names: tuple[str, ...], **more: Any) -> Examples:
    """Images whose first pixel is their class."""
    targets = torch.arange(count) % len(names)
    inputs = torch.zeros(count, *shape, dtype=torch.uint8)
    inputs[:, 0, 0, 0] = targets.to(torch.uint8)
    schema = Schema(
        kind="images", input_shape=shape, target_kind="class", class_names=names, **more
    )
    return Examples(inputs=inputs, targets=targets, schema=schema)


def pixels(text: str) -> Any:
    return np.array(Image.open(io.BytesIO(base64.b64decode(text))))


def test_scores_and_outputs_come_from_one_pass() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 4))
    objective = Supervised(CrossEntropy(), lambda device: Classification(4, device=device))
    trainer = Trainer(model, objective, SGD(model.parameters(), lr=0.1))
    schema = Schema(kind="tensor", input_shape=(3,), target_kind="class", class_names=tuple("abcd"))
    examples = Examples(inputs=torch.randn(50, 3), targets=torch.randint(4, (50,)), schema=schema)
    calls: list[int] = []
    model.register_forward_hook(lambda *_: calls.append(1))
    scores, outputs = evaluate_with_outputs(trainer, Batches(examples, 16))
    assert len(calls) == 4
    assert scores == trainer.evaluate(Batches(examples, 16))
    assert torch.equal(outputs, outputs_of(model, Batches(examples, 16)))
    assert not outputs.requires_grad
    assert model.training
    calls.clear()
    trainer.evaluate(Batches(examples, 16))
    assert len(calls) == 4  # and nothing is kept any longer


def test_hook_is_removed_when_measuring_fails() -> None:
    model = nn.Linear(2, 2)
    trainer = Trainer(model, Supervised(CrossEntropy()), SGD(model.parameters(), lr=0.1))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        evaluate_with_outputs(trainer, [(torch.randn(3, 5), torch.zeros(3).long())])  # type: ignore[arg-type]
    assert len(model._forward_hooks) == 0


@pytest.mark.parametrize("name", ["digits", "prices", "kinds"])
def test_every_run_has_the_records_and_its_page_shows_them(
    name: str, request: pytest.FixtureRequest
) -> None:
    run: Run = request.getfixturevalue(name)
    assert MEGABYTE < run.result["peak_memory"] < 10**12
    assert "peak_device_memory" not in run.result
    page = render_report(run.folder)
    assert "peak memory" in page
    assert "Not recorded" not in page
    assert ("Contact sheet" in page) == (name == "digits")
    assert ("Columns in the training part" in page) == (name != "digits")
    assert ("Reliability diagram" in page) == (name != "prices")
    assert ("Residuals against a normal distribution" in page) == (name == "prices")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the reference is Linux's")
def test_peak_memory_is_the_high_water_mark_of_the_system() -> None:
    found = peak_memory(torch.device("cpu"))["peak_memory"]
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (mark,) = (int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    assert found == pytest.approx(1024 * mark, rel=0.01)  # the kernel counts the two apart


def test_peak_memory_of_a_gpu_is_what_torch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7)
    assert peak_memory(torch.device("cuda"))["peak_device_memory"] == 7


def test_calibration_and_errors_are_those_of_the_outputs(digits: Run) -> None:
    evaluation = record(digits, "evaluation.json")
    with np.load(digits.folder / "split.npz") as file:
        places = torch.from_numpy(file["test"])
    source = fitwell.tasks.open_source("digits").splits
    assert source.test is not None
    assert source.indices["test"] == tuple(places.tolist())
    outputs = outputs_of(digits.model(), Batches(source.test, 256))
    probs, targets = outputs.softmax(1), source.test.targets
    assert targets is not None
    expected = json.loads(json.dumps(calibration(probs, targets).to_dict()))
    assert evaluation["calibration"]["ece"] == pytest.approx(expected["ece"], abs=1e-6)
    counts = [
        [row["count"] for row in found["bins"]] for found in (evaluation["calibration"], expected)
    ]
    assert counts[0] == counts[1]
    wrong = {str(k) for k in (outputs.argmax(1) != targets).nonzero()[:, 0].tolist()}
    sure, worst = evaluation["examples"], evaluation["worst"]
    assert {row["id"] for row in (*sure, *worst)} <= wrong
    assert not {row["id"] for row in sure} & {row["id"] for row in worst}
    confidence = [row["probability"] for row in sure]
    assert confidence == sorted(confidence, reverse=True)
    likelihood = [row["target_probability"] for row in worst]
    assert likelihood == sorted(likelihood)
    for row in (*sure, *worst):
        place = int(row["id"])
        assert row["probability"] == pytest.approx(float(probs[place].max()), abs=1e-6)
        right = float(probs[place, int(targets[place])])
        assert row["target_probability"] == pytest.approx(right, abs=1e-6)


def test_errors_of_a_table_are_rows(prices: Run, house_file: Path) -> None:
    rows = record(prices, "evaluation.json")["examples"]
    errors = [abs(row["prediction"] - row["target"]) for row in rows]
    assert errors == sorted(errors, reverse=True)
    lines = house_file.read_text(encoding="utf-8").splitlines()
    cells = {line.split(",")[0]: dict(zip(lines[0].split(","), line.split(","), strict=True))
             for line in lines}  # fmt: skip
    for row in rows:
        wanted = cells[row["id"]]
        assert row["row"]["city"] == wanted["city"]
        size = float(wanted["size"]) if wanted["size"] else None
        assert row["row"]["size"] == (None if size is None else pytest.approx(size))
        assert row["picture"] is None


def test_columns_are_described_as_numpy_does() -> None:
    numbers = torch.tensor([1.0, float("nan"), 2.0, 5.0])
    codes = torch.tensor([2.0, 0.0, 2.0, 1.0])
    columns = (
        Column(name="size"),
        Column(name="city", kind="category", categories=("Bonn", "Ulm", "Kiel")),
    )
    schema = Schema(kind="table", input_shape=(2,), target_kind="number", columns=columns)
    train = Examples(
        inputs=torch.stack([numbers, codes], 1), targets=torch.arange(4.0), schema=schema
    )
    card = data_card(Splits(train=train, valid=train))
    size, city = card["columns"]
    assert card["sheet"] is None
    assert (size["rows"], size["missing"], size["low"], size["high"]) == (4, 1, 1, 5)
    assert size["mean"] == pytest.approx(8 / 3)
    assert size["std"] == pytest.approx(np.std([1, 2, 5]))
    assert sum(size["bins"]) == 3
    assert city == {
        "name": "city", "kind": "category", "rows": 4, "missing": 1, "distinct": 3,
        "common": [["Ulm", 2], ["Bonn", 1]],
    }  # fmt: skip
    assert (card["target"]["median"], card["target"]["missing"]) == (1.5, 0)
    json.dumps(card, allow_nan=False)


def test_contact_sheet_shows_each_class_under_its_name() -> None:
    names = tuple(f"class {k}" for k in range(5))
    train = classes(43, (1, 4, 6), names)
    sheet = data_card(Splits(train=train, valid=train))["sheet"]
    assert [row["label"] for row in sheet["rows"]] == list(names)
    assert [row["count"] for row in sheet["rows"]] == [9, 9, 9, 8, 8]
    assert (sheet["across"], sheet["more"]) == (10, 0)
    for k, row in enumerate(sheet["rows"]):
        strip = pixels(row["picture"])
        assert strip.shape == (4, row["shown"] * 7 - 1, 2)  # gray and alpha; a gap of one pixel
        assert strip[0, ::7, 0].tolist() == [k] * row["shown"]
        assert strip[:, 6::7, 1].max() == 0


def test_contact_sheet_of_many_large_classes_stays_small() -> None:
    train = classes(400, (3, 96, 64), tuple(f"c{k}" for k in range(200)))
    sheet = data_card(Splits(train=train, valid=train))["sheet"]
    assert (len(sheet["rows"]), sheet["across"], sheet["more"]) == (24, 4, 176)
    assert pixels(sheet["rows"][0]["picture"]).shape[0] == 40


def test_contact_sheet_of_numbers_is_by_their_size() -> None:
    schema = Schema(kind="images", input_shape=(1, 2, 2), target_kind="number")
    targets = torch.tensor([5.0, 1.0, 3.0, 2.0, 4.0, 0.0, 9.0, 8.0, 7.0, 6.0])
    inputs = (targets[:, None, None, None] * torch.ones(1, 1, 2, 2)).to(torch.uint8)
    train = Examples(inputs=inputs, targets=targets, schema=schema)
    card = data_card(Splits(train=train, valid=train))
    labels = [row["label"] for row in card["sheet"]["rows"]]
    assert labels[:3] == ["0 to 1", "2 to 3", "4 to 4"]
    strip = pixels(card["sheet"]["rows"][1]["picture"])
    assert strip[0, ::3, 0].tolist() == [2, 3]


def test_what_are_no_pictures_have_no_contact_sheet() -> None:
    schema = Schema(kind="tensor", input_shape=(2, 3, 3), target_kind="class", class_names=("a",))
    inputs = torch.zeros(2, 2, 3, 3, dtype=torch.uint8)
    train = Examples(inputs=inputs, targets=torch.zeros(2).long(), schema=schema)
    card = data_card(Splits(train=train, valid=train))
    assert card == {"part": "train", "sheet": None, "columns": [], "target": None}
