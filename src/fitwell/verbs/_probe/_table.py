"""The table of probes: what to ask of a run, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, final

from torch import Tensor, nn

from ... import doctor
from ...core.errors import UsageError
from ...train import Run, autocast
from .._several._group import Group
from ._subject import Subject

Kind = Literal["model", "data", "twins", "sweep"]
GROUPS: Final[dict[Kind, str]] = {
    "model": "The model and its loss",
    "data": "The data",
    "twins": "Trainings again, with one thing changed",
    "sweep": "A sweep",
}

_CURVED: Final = 512
"""Examples for second derivatives, of which hundreds of products are taken."""

_BATCHES: Final = 4
"""Batches that an estimate of their noise takes at least."""

_OPENED: Final = frozenset({"data", "model", "device", "seed"})
_TAKES: Final[dict[Kind, frozenset[str]]] = {
    "model": _OPENED | {"rows"},
    "data": _OPENED | {"rows"},
    "twins": _OPENED | {"seeds", "epochs"},
    "sweep": frozenset(),
}
"""Arguments that probes of a kind use; those that some use besides stand beside them."""

_COMPARED: Final = _TAKES["data"] | {"against"}


@final
@dataclass(frozen=True)
class Probe:
    """One line of the table.

    Args:
        kind: Heading it stands under; `twins` train again.
        asks: The question that it answers, in a few words.
        ask: Puts it to a run, or to a sweep.
        takes: Arguments of the verb that it uses.
    """

    kind: Kind
    asks: str
    ask: Callable[[Any], Any]
    takes: frozenset[str]


def _first(probe: Callable[..., Any]) -> Callable[[Subject], Any]:
    """Ask a model with first weights about training batches."""

    def ask(subject: Subject) -> Any:
        return probe(subject.first(), subject.loss, subject.batches("train"))

    return ask


def _trained(
    probe: Callable[..., Any], *parts: str, most: int | None = None
) -> Callable[[Subject], Any]:
    """Ask the trained model about batches of one part or several."""

    def ask(subject: Subject) -> Any:
        batches = [subject.batches(part, most) for part in parts]
        return probe(subject.trained(), subject.loss, *batches)

    return ask


def _sanity_step(subject: Subject) -> Any:
    model, batches = subject.first(), subject.batches("train")
    return doctor.sanity_step(model, subject.loss, subject.optimizer(model), batches)


def _one_batch(subject: Subject) -> Any:
    model = subject.first()
    own = subject.optimizer(model)
    batches = subject.batches("train")
    return doctor.overfit_one_batch(model, subject.loss, batches, optimizer=own, seed=subject.seed)


def _timing(subject: Subject) -> Any:
    """Time the steps that the run takes: its batches, its objective, its precision."""
    session, chosen = subject.session, subject.chosen
    model = subject.untrained()
    objective = session.objective()
    context = autocast(chosen.precision, subject.device)

    def step(model: nn.Module, batch: Any) -> Tensor:
        with context:
            return objective(model, batch)[0]

    batches = session.batches(subject.splits.train, chosen.batch_size, training=True)
    own = subject.optimizer(model)
    return doctor.timing(model, subject.loss, own, batches, loss_of=step, seed=subject.seed)


def _noise_scale(subject: Subject) -> Any:
    """Ask about the examples of a step of the run, which may be several batches."""
    batches, wanted = subject.batches("train"), _BATCHES * subject.chosen.batch_size
    if len(batches.examples) < wanted <= len(subject.splits.train):
        raise UsageError(
            f"{subject.owner}: `rows` must be at least {wanted} for gradient_noise_scale, which"
            f" compares {_BATCHES} batches or more; got {subject.rows}. Use --rows {2 * wanted}."
        )
    return doctor.gradient_noise_scale(
        subject.trained(), subject.loss, batches, batch_size=subject.step_size, seed=subject.seed
    )


def _of_train(probe: Callable[..., Any]) -> Callable[[Subject], Any]:
    """Ask about the training part alone."""
    return lambda subject: probe(subject.part("train"))


def _of_both(probe: Callable[..., Any]) -> Callable[[Subject], Any]:
    """Ask about the training part and what it is compared with."""
    return lambda subject: probe(subject.part("train"), subject.other())


def _duplicates(subject: Subject) -> Any:
    parts = subject.splits
    if subject.against is None:
        return doctor.duplicates(parts.train, subject.other(), parts.test)
    name = Path(subject.against).name  # that of a part is the part
    return doctor.duplicates(parts.train, subject.other(), names=(name,))


def _twins(probe: Callable[..., Any], seeds: int) -> Callable[[Subject], Any]:
    """Train the run again, and twins of it."""

    def ask(subject: Subject) -> Any:
        return probe(
            subject.build,
            seeds=subject.seeds or seeds,
            watch=subject.watch,
            seed=subject.seed,
        )

    return ask


def _simple_models(subject: Subject) -> Any:
    train, valid = subject.part("train"), subject.part("valid")
    return doctor.simple_models(train, valid, model=subject.trained(), seed=subject.seed)


def _seed_spread(subject: Subject) -> Any:
    probe = partial(doctor.seed_spread, metric=subject.run.settings.loss.metric)
    return _twins(probe, 8)(subject)


def _bound(subject: Subject) -> Any:
    """Ask about all examples, since their number is what theory goes by."""
    train, valid = subject.all_batches("train"), subject.all_batches("valid")
    return doctor.generalization_bound(subject.trained(), train, valid)


def _selection(group: Group) -> Any:
    """Ask what the best of the members' validation scores is worth."""
    result = group.result
    rows = [row for row in result.get("members") or () if row["valid"] is not None]
    if group.kind != "sweep" or result.get("metric") != "accuracy" or not rows:
        found = (
            f"a sweep by {result['metric']}" if result.get("metric") else f"a {group.status} one"
        )
        raise UsageError(
            "probe: `run` must be a finished sweep over classifiers by their accuracy, to ask for"
            f" its selection; got {group.folder}, {found if group.kind == 'sweep' else group.kind}."
        )
    first = Run.open(group.folders()[rows[0]["member"]])
    return doctor.selection(
        [row["valid"] for row in rows], first.manifest["data"]["counts"]["valid"]
    )


def _probe(
    kind: Kind, asks: str, ask: Callable[[Any], Any], takes: frozenset[str] | None = None
) -> Probe:
    return Probe(kind, asks, ask, _TAKES[kind] if takes is None else takes)


PROBES: Final[dict[str, Probe]] = {
    "sanity_step": _probe("model", "does one step move all parameters?", _sanity_step),
    "expected_initial_loss": _probe(
        "model", "does the loss begin where it should?", _first(doctor.expected_initial_loss)
    ),
    "gradient_flow": _probe(
        "model", "do gradients vanish or explode on their way?", _first(doctor.gradient_flow)
    ),
    "overfit_one_batch": _probe("model", "can it learn 32 examples by heart?", _one_batch),
    "timing": _probe("model", "does the training wait for its data?", _timing, _OPENED),
    "gradient_noise_scale": _probe("model", "are batches larger than steps can use?", _noise_scale),
    "simple_models": _probe("model", "is it better than simple models?", _simple_models),
    "modes": _probe(
        "model",
        "is evaluation mode worse than training mode?",
        _trained(doctor.modes, "train", "valid"),
    ),
    "generalization_gap": _probe(
        "model",
        "is it worse on held-out examples?",
        _trained(doctor.generalization_gap, "train", "valid"),
    ),
    "generalization_bound": _probe("model", "what can theory promise?", _bound, _OPENED - {"seed"}),
    "input_ablation": _probe(
        "model", "do outputs depend on the inputs?", _trained(doctor.input_ablation, "valid")
    ),
    "critical_point": _probe(
        "model",
        "minimum, saddle, plateau, or still moving?",
        _trained(doctor.critical_point, "train", most=_CURVED),
    ),
    "sharpness": _probe(
        "model",
        "does the loss rise steeply around the weights?",
        _trained(doctor.sharpness, "train", most=_CURVED),
    ),
    "adversarial_validation": _probe(
        "data", "can the parts be told apart?", _of_both(doctor.adversarial_validation), _COMPARED
    ),
    "two_sample": _probe(
        "data", "are the parts drawn alike?", _of_both(doctor.two_sample), _COMPARED
    ),
    "duplicates": _probe("data", "are held-out rows in the training part?", _duplicates, _COMPARED),
    "label_noise": _probe("data", "how many labels are wrong?", _of_train(doctor.label_noise)),
    "label_permutation": _probe(
        "data", "do labels belong to their rows?", _of_train(doctor.label_permutation)
    ),
    "label_order": _probe("data", "are rows sorted by class?", _of_train(doctor.label_order)),
    "capacity": _probe(
        "twins", "is it too small, or too deep to be trained?", _twins(doctor.capacity, 3)
    ),
    "signal_path": _probe(
        "twins", "does normalization or a way around layers help?", _twins(doctor.signal_path, 3)
    ),
    "learning_rate": _probe(
        "twins", "is the rate too high or too low?", _twins(doctor.learning_rate, 3)
    ),
    "batch_size": _probe(
        "twins", "are batches too large or too small?", _twins(doctor.batch_size, 3)
    ),
    "regularization": _probe(
        "twins",
        "is there too much regularization, or too little?",
        _twins(doctor.regularization, 3),
    ),
    "learning_curve": _probe("twins", "would more data help?", _twins(doctor.learning_curve, 3)),
    "seed_spread": _probe("twins", "how much does the seed change?", _seed_spread),
    "selection": _probe("sweep", "what is the best of many worth?", _selection),
}
"""By name, which is that of the function in `fitwell.doctor`; in the order to ask them in."""
