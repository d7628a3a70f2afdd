"""One training of an estimator: settings checked, recipe filled in, the house's loop run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from ..core.errors import FitwellError, UsageError
from ..core.spec import Spec, lookup, parse
from ..data import Batches, Examples, shuffle_split, stratified_split
from ..losses import LOSSES
from ..optim import schedule
from ..tasks import TASKS, make_optimizer, pick_device
from ..train import EarlyStopping, History, Recipe, Trainer
from ._network import Network, build_module, seeded

Array = npt.NDArray[Any]
_TEXTS = ("loss", "optimizer", "schedule")
_COUNTS = ("epochs", "batch_size", "patience")
_TEXT = "be text, as it is printed"
_WHOLE = "be a whole number of at least 1"
_MODEL = "be text such as 'MLP(hidden=(64,))', a torch module, or what makes one"


@final
@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the user chose, checked; None takes what the recipe proposes.

    Args:
        owner: Who asks, for messages.
        model: Printed form of the model, a module, or what makes one.
        loss: Printed form of the loss.
        optimizer: Printed form of the optimizer.
        lr: Base rate that replaces the optimizer's.
        schedule: Printed form of the schedule.
        epochs: Passes over the training part.
        batch_size: Examples per batch.
        valid: Share held out.
        patience: Epochs without improvement before training stops.
        device: What to train on.

    Raises:
        UsageError: A value is of a wrong type or out of range.
    """

    owner: str
    model: Any
    loss: Any
    optimizer: Any
    lr: Any
    schedule: Any
    epochs: Any
    batch_size: Any
    valid: Any
    patience: Any
    device: Any

    def __post_init__(self) -> None:
        for name in (*_TEXTS, *_COUNTS, "lr", "model"):
            if getattr(self, name) is not None:
                self._check(name)
        self._check("valid")
        self._check("device")

    def _check(self, name: str) -> None:
        value = getattr(self, name)
        number = isinstance(value, Real) and not isinstance(value, bool)
        if name in _COUNTS:
            fits, wanted = number and value >= 1 and isinstance(value, Integral), _WHOLE
        elif name == "lr":
            fits, wanted = number and 0 < value < math.inf, "be positive and finite"
        elif name == "valid":
            fits, wanted = number and 0 <= value < 1, "lie in [0, 1), where 0 holds out nothing"
        elif name == "model":
            fits, wanted = isinstance(value, str) or callable(value), _MODEL
        else:
            fits, wanted = isinstance(value, str), _TEXT
        if not fits:
            raise UsageError(f"{self.owner}: `{name}` must {wanted}; got {value!r}.")

    def resolved(self, recipe: Recipe) -> Recipe:
        """Put the user's choices over those of the recipe.

        Args:
            recipe: What the task proposes; its model stays.
        """
        chosen = {name: getattr(self, name) for name in (*_TEXTS, *_COUNTS)}
        for name in _COUNTS:
            chosen[name] = None if chosen[name] is None else int(chosen[name])
        recipe = replace(recipe, **{name: v for name, v in chosen.items() if v is not None})
        if self.lr is None:
            return recipe
        return replace(recipe, optimizer=str(parse(recipe.optimizer).but(lr=float(self.lr))))


def class_weights(choice: Any, classes: Array, targets: Array) -> Array | None:
    """Give the weight of each class; None for equal ones.

    Args:
        choice: ``balanced``, weights by class, or None.
        classes: The classes.
        targets: Class of each example.

    Raises:
        UsageError: The choice is none of these.
    """
    from sklearn.utils.class_weight import compute_class_weight

    if choice is None:
        return None
    if not isinstance(choice, Mapping) and choice != "balanced":
        raise UsageError(
            f"Classifier: `class_weight` must be 'balanced' or weights by class; got {choice!r}."
        )
    weights: Array = compute_class_weight(choice, classes=classes, y=targets)
    return weights


def weighted(loss: str, weights: Iterable[float], owner: str) -> str:
    """Put class weights into a loss.

    Args:
        loss: Its printed form.
        weights: One per class.
        owner: Who asks, for messages.

    Raises:
        UsageError: The loss takes none, or has its own.
    """
    spec: Spec = parse(loss)
    name, _ = lookup(spec.name, LOSSES, owner=owner, what="loss")
    if name != "CrossEntropy" or "weights" in spec.kwargs:
        raise UsageError(
            f"{owner}: `class_weight` must be left out unless the loss is CrossEntropy without"
            f" weights of its own; got loss={loss!r}. Leave one of them out."
        )
    return str(spec.but(weights=tuple(float(weight) for weight in weights)))


def fit_network(
    plan: Plan, examples: Examples, seed: int, weights: Array | None = None
) -> tuple[Network, History]:
    """Train a network on examples.

    Args:
        plan: What the user chose.
        examples: With targets.
        seed: Of the held-out part, initial weights, order and dropout.
        weights: One per class; None for equal ones.

    Returns:
        The network with its best weights where a part is held out or patience is set, else with its
        last; and what was measured.

    Raises:
        UnknownName: No model, loss, optimizer, schedule or argument of that name.
        UsageError: A value does not fit the data.
        TrainingError: The loss became NaN or infinite.
    """
    schema, task = examples.schema, TASKS[examples.schema.kind]
    train, valid = _cut(examples, plan.valid, seed)
    recipe = plan.resolved(task.recipe(schema, len(train)))
    loss = recipe.loss if weights is None else weighted(recipe.loss, weights, plan.owner)
    choice = recipe.model if plan.model is None else plan.model
    scaling = task.fit_scaling(schema, train)
    device = pick_device(plan.device)
    best = _best(recipe, valid is not None)
    with seeded(seed, device):
        module = build_module(choice, schema, scaling).to(device)
        trainer = Trainer(
            module,
            task.objective(loss, schema, scaling),
            make_optimizer(recipe.optimizer, module),
            schedule=schedule(recipe.schedule),
            observers=() if best is None else (best,),
        )
        train, valid = train.to(device), None if valid is None else valid.to(device)
        _try(trainer, train.select(range(min(2, len(train)))), plan.owner)
        history = trainer.fit(
            Batches(train, recipe.batch_size, shuffle=True, seed=seed, device=device),
            None if valid is None else Batches(valid, 256, device=device),
            epochs=recipe.epochs,
        )
    if best is not None:
        best.restore(trainer)
    spec = str(parse(choice)) if isinstance(choice, str) else None
    return Network(spec, schema, scaling, module), history


def _cut(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples | None]:
    if not share:
        return examples, None
    if examples.schema.target_kind == "class" and examples.targets is not None:
        stays, held = stratified_split(examples.targets.numpy(), share, seed)
    else:
        stays, held = shuffle_split(len(examples), share, seed)
    return examples.select(torch.from_numpy(stays)), examples.select(torch.from_numpy(held))


def _best(recipe: Recipe, has_valid: bool) -> EarlyStopping | None:
    """Watch the held-out part, or else the training loss if patience is set."""
    if has_valid:
        return EarlyStopping(recipe.metric, recipe.mode, recipe.patience)
    return None if recipe.patience is None else EarlyStopping(patience=recipe.patience)


def _try(trainer: Trainer, few: Examples, owner: str) -> None:
    """Measure two examples, so that a model or loss that does not fit is named before training."""
    try:
        trainer.evaluate(Batches(few, len(few), device=trainer.device))
    except (RuntimeError, ValueError, TypeError, IndexError) as err:
        if isinstance(err, FitwellError):
            raise
        schema = few.schema
        raise UsageError(
            f"{owner}: `model` and `loss` must fit inputs of shape {schema.input_shape} and"
            f" {schema.num_outputs} outputs; they fail ({type(err).__name__}: {err})."
            " Try them on two examples by hand."
        ) from err


def seed_of(random_state: Any) -> int:
    """Give a seed: a whole number is one, anything else draws one.

    Args:
        random_state: None, a whole number, or NumPy's RandomState.
    """
    from sklearn.utils import check_random_state

    random = check_random_state(random_state)
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(random.randint(np.iinfo(np.int32).max))
