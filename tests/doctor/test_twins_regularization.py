"""Twins without regularization and with more: too much, too little and enough are told apart."""

from __future__ import annotations

import json

import pytest
import torch

from fitwell.core.errors import UsageError
from fitwell.data import Batches, Examples, Schema, load_builtin
from fitwell.doctor import Build, Twin, regularization, state_digest
from fitwell.doctor._twins._regularization import MORE_DECAY, MORE_DROPOUT, _judged
from fitwell.losses import CrossEntropy
from fitwell.nn import MLP
from fitwell.optim import AdamW
from fitwell.train import Member, Population, Supervised

SPLITS = load_builtin("digits")
DIGITS: Examples = SPLITS.train.select(range(200))
HELD_OUT: Examples = SPLITS.valid


def training(
    *,
    dropout: float = 0.0,
    decay: float = 0.01,
    smoothing: float = 0.0,
    train: Examples = DIGITS,
    valid: Examples | None = HELD_OUT,
    epochs: int = 20,
    notes: list[tuple[str, float, float]] | None = None,
) -> Build:
    def build(twin: Twin, seed: int) -> Member:
        torch.manual_seed(seed)
        width = train.inputs[0].numel()
        model = twin.model(MLP(width, len(train.schema.class_names), hidden=(32,), dropout=dropout))
        weight_decay = twin.weight_decay(decay)
        loss = twin.loss(CrossEntropy(label_smoothing=smoothing))
        if notes is not None:
            rates = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
            notes.append((twin.name, weight_decay, max(rates, default=0.0)))
        return Member(
            model=model,
            objective=Supervised(loss),
            optimizer=AdamW(model.parameters(), lr=0.005, weight_decay=weight_decay),
            train=Batches(train, 20, shuffle=True, seed=seed),
            valid=None if valid is None else Batches(valid, 256),
            epochs=epochs,
            seed=seed,
        )

    return build


def test_a_healthy_amount_is_fine_and_everything_stays_as_it_was() -> None:
    notes: list[tuple[str, float, float]] = []
    before = state_digest()
    found = regularization(training(notes=notes), stack=1)
    assert state_digest() == before
    assert (found.amount, found.found) == ("fine", False)
    assert "Neither none nor more regularization is better" in found.conclusion
    assert found.switched_off == ("weight decay",)
    assert ("without", 0.0, 0.0) in notes
    assert ("with more", pytest.approx(0.1), MORE_DROPOUT) in notes
    assert list(found.losses) == ["without", "as it is", "with more"]
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["valid_losses"]["as it is"] == pytest.approx(list(found.valid_losses["as it is"]))
    labels = [text.get_text() for text in found.figure().axes[0].get_yticklabels()]
    assert labels[:2] == ["without: training", "without: held out"]


@pytest.mark.parametrize(
    ("settings", "off"),
    [
        ({"dropout": 0.95}, ("dropout", "weight decay")),
        ({"decay": 20.0}, ("weight decay",)),
        ({"smoothing": 0.85, "decay": 0.0}, ("label smoothing",)),
    ],
    ids=["dropout", "decay", "smoothing"],
)
def test_too_much_is_found(settings: dict[str, float], off: tuple[str, ...]) -> None:
    found = regularization(training(**settings, epochs=6), stack=1)
    assert (found.amount, found.found) == ("too much", True)
    assert found.switched_off == off
    assert found.interval[0] > 0
    assert found.control == pytest.approx(sum(found.valid_losses["as it is"]) / 3)
    assert "There is too much regularization" in found.conclusion


def noise(rows: int, seed: int) -> Examples:
    """Two classes that one of 30 columns tells apart, but for every fourth label."""
    random = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rows, 30, generator=random)
    labels = (inputs[:, 0] > 0) ^ (torch.rand(rows, generator=random) < 0.25)
    schema = Schema(
        kind="tensor", input_shape=(30,), target_kind="class", class_names=("no", "yes")
    )
    return Examples(inputs=inputs, targets=labels.long(), schema=schema)


def test_too_little_is_found_where_noise_is_learned_by_heart() -> None:
    build = training(train=noise(100, 0), valid=noise(500, 1), decay=0.05, epochs=20)
    found = regularization(build, stack=1)
    assert (found.amount, found.found) == ("too little", True)
    assert max(found.losses["as it is"]) < min(found.valid_losses["as it is"]) / 2
    assert "There is too little regularization" in found.conclusion


def test_all_are_measured_without_label_smoothing() -> None:
    found = regularization(training(smoothing=0.3, epochs=2), seeds=1, stack=1)
    torch.manual_seed(0)
    member = training(smoothing=0.3, epochs=2)(Twin(), 0)
    Population([member]).fit()
    plain = Supervised(CrossEntropy()).measure(member.model.eval(), Batches(DIGITS, 200))
    assert found.losses["as it is"][0] == pytest.approx(plain.compute()["loss"], rel=1e-4)
    assert (found.amount, found.found) == ("unknown", None)


def test_augmentation_is_switched_off() -> None:
    seen: list[tuple[str, object]] = []

    def build(twin: Twin, seed: int) -> Member:
        seen.append((twin.name, twin.augment("Flip()")))
        return training(decay=0.0, epochs=1)(Twin(), seed)

    found = regularization(build, seeds=1, stack=1)
    assert ("without", None) in seen
    assert found.switched_off == ("augmentation",)
    assert "asks neither for model nor for weight decay" in found.not_tried["with more"]


def test_the_label_smoothing_of_torch_is_switched_off_in_a_copy() -> None:
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.3)
    seen: list[float] = []

    def build(twin: Twin, seed: int) -> Member:
        member = training(decay=0.0, epochs=1)(Twin(), seed)
        made = twin.loss(loss)
        seen.append(made.label_smoothing)
        member.objective = Supervised(made)
        return member

    found = regularization(build, seeds=1, stack=1)
    assert found.switched_off == ("label smoothing",)
    assert {0.0, 0.3} <= set(seen)
    assert loss.label_smoothing == 0.3


def test_twins_on_a_loader_that_augments_are_measured_on_the_same_examples() -> None:
    def build(twin: Twin, seed: int) -> Member:
        member = training(decay=0.0, epochs=1)(Twin(), seed)
        if twin.augment("noise") is not None:
            member.train = [(10 * x, y) for x, y in Batches(DIGITS, 20)]
        else:
            member.train = list(Batches(DIGITS, 20))
        member.optimizer.param_groups[0]["lr"] = member.base_rates[0] = 0.0
        return member

    found = regularization(build, seeds=1, stack=1)
    assert found.losses["as it is"] == pytest.approx(found.losses["without"])


def test_the_least_weight_decay_of_more_is_stated() -> None:
    notes: list[tuple[str, float, float]] = []
    found = regularization(training(decay=0.0, epochs=1, notes=notes), seeds=1, stack=1)
    assert ("with more", MORE_DECAY, MORE_DROPOUT) in notes
    assert found.not_tried == {"without": "there is no regularization that could be switched off"}


def test_the_rule_on_numbers() -> None:
    low, own, high = (0.5, 0.52, 0.49), (1.0, 1.01, 0.99), (2.0, 2.1, 1.9)
    mixed = (0.3, 1.4, 0.6)

    def judged(without: object, more: object, train: object = low, train_off: object = low) -> str:
        train_ = {"as it is": train, "without": train_off, "with more": own}
        valid = {"as it is": own, "without": without, "with more": more}
        return _judged(train_, valid, 0.1)[0]  # type: ignore[arg-type]

    assert judged(own, own) == "fine"
    assert judged(high, high) == "fine"
    assert judged(low, own, train=high) == "too much"
    assert judged(low, own, train=low) == "fine"  # not better in training
    assert judged(high, low, train=low) == "too little"
    assert judged(own, low, train=own) == "fine"  # there is no gap to close
    assert judged(mixed, own) == "unknown"


def test_what_cannot_be_tried_is_refused() -> None:
    with pytest.raises(UsageError, match="regularization: `build` must give held-out data"):
        regularization(training(valid=None))

    def deaf(twin: Twin, seed: int) -> Member:
        return training()(Twin(), seed)

    with pytest.raises(UsageError, match="must ask the twin for its model or its weight decay"):
        regularization(deaf)
