"""The two estimators. Their constructors store; everything is checked in `fit`.

N examples, F columns, K classes.
"""

from __future__ import annotations

from typing import Any, Literal, Self, final

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets

from ..data import as_examples
from ..tasks import ModelChoice
from ._estimator import Array, Estimator
from ._fit import class_weights


@final
class Classifier(ClassifierMixin, Estimator):  # type: ignore[misc]
    """Train a network to tell classes apart, as an estimator of scikit-learn.

    For pipelines, searches and comparisons with other estimators. For augmentation, checkpoints,
    resuming and a report use `fitwell.train`. What is left out is chosen by the recipe for data of
    that kind and size. Inputs are

    - tables (N, F) of numbers, NaN where missing; standardization is part of the model;
    - pandas frames, whose columns of text or categories are looked up in learned tables;
    - images of type uint8, (N, H, W), (N, C, H, W) or (N, H, W, C);
    - float arrays of any other shape.

    Not covered: sample weights, sparse matrices, several targets, `partial_fit`; fits in threads of
    one process share torch's generator and are not repeatable.

    Args:
        model: Printed form of a model such as ``"MLP(hidden=(64,))"``, a torch module, which is
            copied and trained on from its weights, or a class or function that makes one, given
            those of `in_features`, `out_features`, `in_channels` and `image_size` that it takes.
        loss: Printed form of the loss.
        optimizer: Printed form of the optimizer.
        lr: Base learning rate in place of the optimizer's own, for searches over it.
        schedule: Printed form of the learning-rate schedule.
        epochs: Passes over the training examples.
        batch_size: Examples per update.
        valid: Share of the examples held out to choose the best epoch by; 0 trains on all and keeps
            the last epoch.
        patience: Epochs without a better value before training stops, of the held-out part or, with
            `valid=0`, of the training loss.
        class_weight: ``balanced`` counts each class alike whatever its share; or a weight by class.
        device: What to train on; ``auto`` takes an NVIDIA GPU if there is one.
        random_state: Seed of initial weights, order, dropout and the held-out part. The same number
            gives the same weights; None draws another one each time.

    Raises:
        UsageError: In `fit`: a parameter does not fit, or not to the data.
        UnknownName: In `fit`: no model, loss, optimizer, schedule or argument of that name.

    Source: tietz2017skorch for the idea, pedregosa2011scikit for the interface.
    Differs: a schedule by default, scaling inside the model, and a seed that fixes everything.
    Checked against: scikit-learn's own checks; a literal PyTorch loop; skorch on the same folds.
    """

    def __init__(
        self,
        model: ModelChoice | None = None,
        *,
        loss: str | None = None,
        optimizer: str | None = None,
        lr: float | None = None,
        schedule: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        valid: float = 0.0,
        patience: int | None = None,
        class_weight: Literal["balanced"] | dict[Any, float] | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.valid = valid
        self.patience = patience
        self.class_weight = class_weight
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train from the start.

        Sets `classes_`, `n_features_in_`, `feature_names_in_`, `n_iter_` (epochs), `loss_curve_`
        (mean training loss of each epoch), `history_` (a record per epoch) and `model_`.

        Args:
            X: Inputs, examples along the first axis.
            y: Class of each example: numbers or texts; (N,).

        Raises:
            UsageError: A parameter does not fit, or not to the data.
            UnknownName: No model, loss, optimizer, schedule or argument of that name.
            TrainingError: The loss became NaN or infinite.
        """
        plan = self._plan()
        X, y, columns = self._read(X, y, numeric=False)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        weights = class_weights(self.class_weight, self.classes_, y)
        names = [str(label) for label in self.classes_]
        examples = as_examples(X, codes, class_names=names, target_kind="class", owner=plan.owner)
        self._train(plan, examples, columns, weights)
        return self

    def predict(self, X: Any) -> Array:
        """Give the most probable class of each example; (N,).

        Args:
            X: Inputs like those of `fit`.
        """
        codes = self._answers(X).values.numpy()
        labels: Array = self.classes_[codes]
        return labels

    def predict_proba(self, X: Any) -> Array:
        """Give the probability of each class, in the order of `classes_`; (N, K), rows sum to 1.

        Args:
            X: Inputs like those of `fit`.
        """
        probs = self._answers(X).probs
        return np.empty((0, 0)) if probs is None else probs.numpy()


@final
class Regressor(RegressorMixin, Estimator):  # type: ignore[misc]
    """Train a network to predict a number, as an estimator of scikit-learn.

    Inputs, limits and parameters are those of `Classifier`. Targets are standardized inside the
    model, so that one learning rate fits any unit.

    Args:
        model: Printed form of a model such as ``"MLP(hidden=(64,))"``, a torch module, which is
            copied and trained on from its weights, or a class or function that makes one, given
            those of `in_features`, `out_features`, `in_channels` and `image_size` that it takes.
        loss: Printed form of the loss.
        optimizer: Printed form of the optimizer.
        lr: Base learning rate in place of the optimizer's own, for searches over it.
        schedule: Printed form of the learning-rate schedule.
        epochs: Passes over the training examples.
        batch_size: Examples per update.
        valid: Share of the examples held out to choose the best epoch by; 0 trains on all and keeps
            the last epoch.
        patience: Epochs without a better value before training stops, of the held-out part or, with
            `valid=0`, of the training loss.
        device: What to train on; ``auto`` takes an NVIDIA GPU if there is one.
        random_state: Seed of initial weights, order, dropout and the held-out part. The same number
            gives the same weights; None draws another one each time.

    Raises:
        UsageError: In `fit`: a parameter does not fit, or not to the data.
        UnknownName: In `fit`: no model, loss, optimizer, schedule or argument of that name.

    Source: tietz2017skorch for the idea, pedregosa2011scikit for the interface.
    Reduces to: least squares for the model ``Linear()`` trained to the end.
    Checked against: scikit-learn's own checks; scikit-learn LinearRegression.
    """

    def __init__(
        self,
        model: ModelChoice | None = None,
        *,
        loss: str | None = None,
        optimizer: str | None = None,
        lr: float | None = None,
        schedule: str | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        valid: float = 0.0,
        patience: int | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.schedule = schedule
        self.epochs = epochs
        self.batch_size = batch_size
        self.valid = valid
        self.patience = patience
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Train from the start.

        Sets `n_features_in_`, `feature_names_in_`, `n_iter_` (epochs), `loss_curve_` (mean training
        loss of each epoch), `history_` (a record per epoch) and `model_`.

        Args:
            X: Inputs, examples along the first axis.
            y: Number of each example; (N,).

        Raises:
            UsageError: A parameter does not fit, or not to the data.
            UnknownName: No model, loss, optimizer, schedule or argument of that name.
            TrainingError: The loss became NaN or infinite.
        """
        plan = self._plan()
        X, y, columns = self._read(X, y, numeric=True)
        examples = as_examples(X, y, target_kind="number", owner=plan.owner)
        self._train(plan, examples, columns)
        return self

    def predict(self, X: Any) -> Array:
        """Give a number for each example; (N,).

        Args:
            X: Inputs like those of `fit`.
        """
        numbers: Array = self._answers(X).values.numpy()
        return numbers
