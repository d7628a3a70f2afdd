"""Outputs over several views are the means written out."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fitwell.core.errors import UsageError
from fitwell.data import Batches, Crop, Examples, Flip, Schema
from fitwell.train import outputs_of, outputs_of_views

CLASSES = ("a", "b", "c", "d")
FLOAT = {"rtol": 1e-5, "atol": 1e-6}
"""Sums in float32 in another order."""


def images(count: int = 20) -> Examples:
    generator = torch.Generator().manual_seed(0)
    schema = Schema(kind="images", input_shape=(1, 6, 6), target_kind="class", class_names=CLASSES)
    inputs = torch.randint(0, 256, (count, 1, 6, 6), generator=generator, dtype=torch.uint8)
    return Examples(inputs=inputs, targets=torch.arange(count) % 4, schema=schema)


def model() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Dropout(0.5), nn.Linear(8, 4))


class Fixed:
    """The views of a list in turn, whatever is drawn: (batch 1 of view 1, of view 2, ...)."""

    def __init__(self, *views: Any) -> None:
        self.views, self.calls = views, 0

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        self.calls += 1
        changed: Tensor = self.views[(self.calls - 1) % len(self.views)](x)
        return changed


MIRROR, UPSIDE, TURN = (
    lambda x: x.flip(-1),
    lambda x: x.flip(-2),
    lambda x: x.rot90(1, (-2, -1)),
)


@pytest.mark.parametrize("weight", [None, 0.0, 0.5, 0.9])
@pytest.mark.parametrize("combine", ["logits", "probs", "vote"])
def test_hw3_04_the_mean_over_fixed_views(weight: float | None, combine: Any) -> None:
    network, data = model().eval(), images()
    x = data.inputs.float() / 255
    with torch.no_grad():
        seen = [network(view).double() for view in (x, MIRROR(x), UPSIDE(x), TURN(x))]
    plain = 0.25 if weight is None else weight
    shares = [plain, *[(1 - plain) / 3] * 3]
    found = outputs_of_views(
        network,
        Batches(data, 7),
        augment=Fixed(MIRROR, UPSIDE, TURN),
        views=3,
        plain_weight=weight,
        combine=combine,
    )
    if combine == "logits":
        expected = sum(share * view for share, view in zip(shares, seen, strict=True))
        torch.testing.assert_close(found.double(), expected, **FLOAT)
        return
    probs = sum(share * view.softmax(1) for share, view in zip(shares, seen, strict=True))
    if combine == "probs":
        torch.testing.assert_close(found.exp().double(), probs, **FLOAT)
        return
    for row in range(len(x)):  # by hand: shares of votes, ties by mean probability
        votes = [0.0] * 4
        for share, view in zip(shares, seen, strict=True):
            votes[int(view[row].argmax())] += share
        torch.testing.assert_close(
            found[row].exp(), torch.tensor(votes), rtol=0, atol=4e-6, msg=str(row)
        )
        most = max(votes)
        first = [k for k in range(4) if votes[k] > most - 1e-6]
        assert int(found[row].argmax()) == max(first, key=lambda k: probs[row, k])


def test_the_mean_of_equal_views_is_that_of_ttach_and_of_all_in_one_batch() -> None:
    """``ttach`` gives ``sum(outputs) / count`` over its views, the plain one among them."""
    network, data = model().eval(), images()
    x = data.inputs.float() / 255
    with torch.no_grad():
        total = network(x)
        for view in (MIRROR, UPSIDE):
            total = total + network(view(x))
    found = outputs_of_views(network, Batches(data, 20), augment=Fixed(MIRROR, UPSIDE), views=2)
    torch.testing.assert_close(found, total / 3, **FLOAT)


@pytest.mark.parametrize("combine", ["logits", "probs", "vote"])
def test_without_views_the_outputs_are_the_plain_ones_to_the_bit(combine: Any) -> None:
    network, data = model(), Batches(images(), 7)
    plain = outputs_of(network, data)
    none = outputs_of_views(network, data, augment=Flip(), views=0, combine=combine)
    assert torch.equal(none, plain)
    if combine == "logits":
        alone = outputs_of_views(network, data, augment=Flip(), views=2, plain_weight=1)
        assert torch.equal(alone, plain)
    assert network.training


def test_views_depend_on_the_seed_alone_and_more_begin_with_those_of_fewer() -> None:
    network, data = model(), Batches(images(), 7)

    def seen(views: int, seed: int) -> Tensor:
        """The sum of the random views."""
        options = {"augment": Crop(padding=2), "plain_weight": 0.0, "seed": seed}
        return views * outputs_of_views(network, data, views=views, **options)  # type: ignore[arg-type]

    torch.manual_seed(3)
    first = seen(2, 5)
    torch.manual_seed(4)
    assert torch.equal(first, seen(2, 5))
    assert not torch.equal(first, seen(2, 6))
    once, thrice = seen(1, 5), seen(3, 5)
    second = first - once
    assert not torch.allclose(once, second)
    generator = torch.Generator().manual_seed(5 + 3 * 1_000_003)
    x = images().inputs.float() / 255
    third = torch.cat(
        [outputs_of(network, [(Crop(padding=2)(part, generator),)]) for part in x.split(7)]
    )
    torch.testing.assert_close(thrice - first, third, rtol=1e-4, atol=1e-5)


def test_numbers_are_averaged_and_have_no_votes() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 1), nn.Flatten(0))
    data = Batches(images(), 6)
    found = outputs_of_views(network, data, augment=Fixed(MIRROR), views=1)
    x = images().inputs.float() / 255
    with torch.no_grad():
        expected = (network(x) + network(MIRROR(x))) / 2
    torch.testing.assert_close(found, expected, **FLOAT)
    with pytest.raises(UsageError, match=r"must be 'logits' for outputs .* shape \(6,\); got 'v"):
        outputs_of_views(network, data, augment=Flip(), views=1, combine="vote")


def test_a_class_without_votes_has_a_finite_logarithm() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    nn.init.zeros_(network[1].weight)
    with torch.no_grad():
        network[1].bias.copy_(torch.tensor([0.0, 500.0, -500.0, 0.0]))
    for combine in ("probs", "vote"):
        found = outputs_of_views(
            network, Batches(images(), 5), augment=Flip(), views=2, combine=combine
        )
        assert found.isfinite().all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"views": -1}, "`views` must not be negative; got -1"),
        ({"plain_weight": 1.5}, r"`plain_weight` must lie in 0 \.\.\. 1; got 1.5"),
        ({"plain_weight": float("nan")}, r"`plain_weight` must lie in 0 \.\.\. 1; got nan"),
        ({"combine": "mean"}, r"`combine` must be one of \('logits', .*\); got 'mean'"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    options = {"augment": Flip(), "views": 2, **given}
    with pytest.raises(UsageError, match=f"outputs_of_views: {message}"):
        outputs_of_views(model(), Batches(images(), 5), **options)
