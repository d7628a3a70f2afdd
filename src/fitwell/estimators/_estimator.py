"""What both estimators share: reading inputs, training, answering, saving."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from ..core.errors import RunError
from ..data import Column, Examples, Schema
from ..tasks import Answers, ModelChoice
from ..train import load_into
from ._columns import encode, text_columns
from ._fit import Plan, fit_network, seed_of
from ._network import Network, build_module, seeded
from ._store import (
    Stored,
    plain,
    plain_classes,
    read_estimator,
    restored,
    restored_classes,
    write_estimator,
)

Array = npt.NDArray[Any]
Columns = tuple[Column, ...]
_CHECKS: dict[str, Any] = {
    "dtype": [np.float32, np.uint8],
    "allow_nd": True,
    "ensure_all_finite": "allow-nan",  # of a table; `as_examples` refuses NaN in anything else
}
_FITTED = ("n_features_in_", "feature_names_in_", "history_", "loss_curve_", "n_iter_")


class Estimator(BaseEstimator):  # type: ignore[misc]
    """What both share: reading inputs, training, answering, saving."""

    _network: Network

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        return tags

    @property
    def model_(self) -> nn.Module:
        """The trained module, in evaluation mode: raw inputs in, logits or numbers out."""
        check_is_fitted(self, "n_iter_")
        return self._network.module

    def _plan(self) -> Plan:
        names = {field.name for field in fields(Plan)} - {"owner"}
        return Plan(owner=type(self).__name__, **{name: getattr(self, name) for name in names})

    def _read(self, X: Any, y: Any, *, numeric: bool) -> tuple[Array, Array, Columns]:
        """Check inputs and targets; a frame with texts gives its columns as well."""
        X, y = _from_torch(X), _from_torch(y)
        columns = text_columns(X, type(self).__name__)
        X = encode(X, columns) if columns else X
        X, y = validate_data(self, X, y, y_numeric=numeric, **_CHECKS)
        return X, y, columns

    def _train(
        self, plan: Plan, examples: Examples, columns: Columns, weights: Array | None = None
    ) -> None:
        if columns:
            examples = replace(examples, schema=replace(examples.schema, columns=columns))
        seed = seed_of(self.random_state)
        self._network, history = fit_network(plan, examples, seed, weights)
        self.history_ = history.epochs
        self.loss_curve_ = [record["train"]["loss"] for record in history.epochs]
        self.n_iter_ = len(history.epochs)

    def _answers(self, X: Any) -> Answers:
        check_is_fitted(self, "n_iter_")
        X = _from_torch(X)
        columns = self._network.schema.columns
        if any(column.kind == "category" for column in columns):
            validate_data(self, X, reset=False, skip_check_array=True)
            X = encode(X, columns)
        X = validate_data(self, X, reset=False, **_CHECKS)
        return self._network.answers(X, type(self).__name__)

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to a file that `load` reads without executing anything.

        The file is in the safetensors format. Of parameters, text and numbers are kept; a
        `random_state` that is a generator and the code of a model of your own are not.

        Args:
            path: The file; an old one is replaced.
        """
        check_is_fitted(self, "n_iter_")
        fitted = {name: getattr(self, name) for name in _FITTED if hasattr(self, name)}
        if "feature_names_in_" in fitted:
            fitted["feature_names_in_"] = self.feature_names_in_.tolist()
        if hasattr(self, "classes_"):
            fitted["classes_"] = plain_classes(self.classes_)
        network = self._network
        stored = Stored(
            kind=type(self).__name__,
            params={name: plain(value) for name, value in self.get_params(deep=False).items()},
            spec=network.spec,
            model_name=getattr(self.model, "__name__", type(self.model).__name__),
            schema=network.schema.to_dict(),
            scaling=network.scaling,
            fitted=fitted,
        )
        write_estimator(path, stored, network.weights())

    @classmethod
    def load(cls, path: str | Path, *, model: ModelChoice | None = None) -> Self:
        """Read a fitted estimator that `save` wrote.

        Args:
            path: The file.
            model: The model again, if it was your own.

        Raises:
            RunError: The file is missing, damaged or holds something else, or the model does not
                fit its weights.
        """
        stored, weights = read_estimator(path, cls.__name__)
        choice = model if stored.spec is None else stored.spec
        if choice is None:
            raise RunError(
                f"{path}: was trained with a model of your own ({stored.model_name}), whose code is"
                " not kept in the file. Give it again with `model`."
            )
        schema = Schema.from_dict(stored.schema)
        with seeded(0):
            module = build_module(choice, schema, stored.scaling)
        load_into(module, weights, path)
        params = {name: restored(value) for name, value in stored.params.items()}
        estimator = cls(**params if stored.spec else {**params, "model": model})
        for name in _FITTED:
            if name in stored.fitted:
                setattr(estimator, name, stored.fitted[name])
        if "feature_names_in_" in stored.fitted:
            estimator.feature_names_in_ = np.array(stored.fitted["feature_names_in_"], dtype=object)
        if "classes_" in stored.fitted:
            estimator.classes_ = restored_classes(stored.fitted["classes_"])
        estimator._network = Network(stored.spec, schema, stored.scaling, module)
        return estimator


def _from_torch(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
