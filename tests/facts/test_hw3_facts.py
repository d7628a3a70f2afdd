"""What the third homework claims: views at test time, and a ladder that rises rung by rung."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.records import read_records
from fitwell.data import Batches, Examples, Flip, Schema
from fitwell.train import outputs_of_views

RECORDS = Path(__file__).parents[2] / "records" / "recipes.jsonl"
FLOAT = {"rtol": 1e-5, "atol": 1e-6}


def pictures(count: int = 23) -> Examples:
    draws = torch.Generator().manual_seed(0)
    shape = (3, 9, 8)
    return Examples(
        inputs=torch.randint(0, 256, (count, *shape), generator=draws, dtype=torch.uint8),
        targets=torch.arange(count) % 4,
        schema=Schema(
            kind="images", input_shape=shape, target_kind="class", class_names=("a", "b", "c", "d")
        ),
    )


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(252, 4))
    return nn.Sequential(*layers).eval()


# HW3-04 -------------------------------------------------------------------------------------------


def as_ttach_does(model: nn.Module, x: Tensor) -> Tensor:
    """Every combination of "mirror or not" in turn; the outputs summed, then divided by how many.

    `ClassificationTTAWrapper(model, Compose([HorizontalFlip()]), merge_mode="mean")` of ttach 0.0.3
    gave the same numbers for this model and these pictures.
    """
    total, count = torch.zeros(len(x), 4), 0
    for (mirror,) in itertools.product((False, True)):
        total, count = total + model(x.flip(3) if mirror else x), count + 1
    return total / count


@pytest.mark.parametrize("batch_size", [5, 23])
def test_hw3_04_mirrored_views_give_the_logits_of_ttach(batch_size: int) -> None:
    model, examples = network(), pictures()
    found = outputs_of_views(
        model, Batches(examples, batch_size), augment=Flip(p=1.0), views=1, seed=3
    )
    with torch.no_grad():
        expected = as_ttach_does(model, torch.as_tensor(examples.inputs[:]).float() / 255)
    torch.testing.assert_close(found, expected, **FLOAT)


def test_hw3_04_the_course_gives_the_plain_picture_the_larger_weight() -> None:
    model, examples = network(), pictures()
    x = torch.as_tensor(examples.inputs[:]).float() / 255
    found = outputs_of_views(
        model, Batches(examples, 7), augment=Flip(p=1.0), views=1, plain_weight=0.8
    )
    with torch.no_grad():
        expected = 0.8 * model(x) + 0.2 * model(x.flip(3))
    torch.testing.assert_close(found, expected, **FLOAT)


# The ladder ---------------------------------------------------------------------------------------

RUNGS = ("simple", "medium", "strong", "boss")


def test_hw3_the_recorded_rungs_rise_on_the_same_pictures() -> None:
    newest = {record["what"]: record for record in read_records(RECORDS)}
    rungs = [newest[f"ladder {rung}"] for rung in RUNGS if f"ladder {rung}" in newest]
    assert len(rungs) >= 2
    assert len({record["fingerprint"] for record in rungs}) == 1
    for lower, higher in itertools.pairwise(record["result"]["test"] for record in rungs):
        assert higher["low"] > lower["high"]
