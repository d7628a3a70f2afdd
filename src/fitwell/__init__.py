"""fitwell trains neural networks and tells you why they do not learn.

    run = fitwell.train("digits", model="cnn")
    fitwell.Trainer(model, objective, optimizer).fit(train, valid)

Importing this package imports nothing else: names are looked up when they are first used.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import TYPE_CHECKING, Any, final

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .data import Batches as Batches
    from .data import Examples as Examples
    from .data import Schema as Schema
    from .data import Splits as Splits
    from .doctor import watch as watch
    from .estimators import Classifier as Classifier
    from .estimators import Regressor as Regressor
    from .train import Run as Run
    from .train import Trainer as Trainer
    from .train import explain_errors as explain_errors
    from .verbs._average import average as average
    from .verbs._compare import compare as compare
    from .verbs._evaluate import evaluate as evaluate
    from .verbs._export import export as export
    from .verbs._lint import lint as lint
    from .verbs._open_run import open_run as open_run
    from .verbs._predict import predict as predict
    from .verbs._probe import probe as probe
    from .verbs._report import report as report
    from .verbs._resume import resume as resume
    from .verbs._several import Group as Group
    from .verbs._several import baselines as baselines
    from .verbs._several import crossval as crossval
    from .verbs._several import ensemble as ensemble
    from .verbs._submission import check_submission as check_submission
    from .verbs._surface import surface as surface
    from .verbs._sweep import sweep as sweep
    from .verbs._train import train as train

_CLASSES = {
    "Batches": "fitwell.data",
    "Classifier": "fitwell.estimators",
    "Examples": "fitwell.data",
    "Group": "fitwell.verbs._several",
    "Regressor": "fitwell.estimators",
    "Run": "fitwell.train",
    "Schema": "fitwell.data",
    "Splits": "fitwell.data",
    "Trainer": "fitwell.train",
    "explain_errors": "fitwell.train",
    "watch": "fitwell.doctor",
}
_VERBS = {
    "average": "fitwell.verbs._average",
    "baselines": "fitwell.verbs._several",
    "check_submission": "fitwell.verbs._submission",
    "compare": "fitwell.verbs._compare",
    "crossval": "fitwell.verbs._several",
    "ensemble": "fitwell.verbs._several",
    "evaluate": "fitwell.verbs._evaluate",
    "export": "fitwell.verbs._export",
    "lint": "fitwell.verbs._lint",
    "open_run": "fitwell.verbs._open_run",
    "predict": "fitwell.verbs._predict",
    "probe": "fitwell.verbs._probe",
    "report": "fitwell.verbs._report",
    "resume": "fitwell.verbs._resume",
    "surface": "fitwell.verbs._surface",
    "sweep": "fitwell.verbs._sweep",
    "train": "fitwell.verbs._train",
}

__all__ = [
    "Batches",
    "Classifier",
    "Examples",
    "Group",
    "Regressor",
    "Run",
    "Schema",
    "Splits",
    "Trainer",
    "average",
    "baselines",
    "check_submission",
    "compare",
    "crossval",
    "ensemble",
    "evaluate",
    "explain_errors",
    "export",
    "lint",
    "open_run",
    "predict",
    "probe",
    "report",
    "resume",
    "surface",
    "sweep",
    "train",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return getattr(importlib.import_module(_CLASSES[name]), name)
    if not name.startswith("_") and importlib.util.find_spec(f"fitwell.{name}") is not None:
        return importlib.import_module(f"fitwell.{name}")
    raise AttributeError(f"module 'fitwell' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


class _Family(types.ModuleType):
    """A subpackage with the name of a verb: it can be called, and is that verb."""

    @property
    def __wrapped__(self) -> Any:
        return _verb(self.__name__.rpartition(".")[2])

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.__wrapped__(*args, **options)


def _verb(name: str) -> Any:
    return getattr(importlib.import_module(_VERBS[name]), name)


@final
class _VerbName:
    """A verb as an attribute of the package, whatever subpackage has the same name.

    `fitwell.train` is both: it can be called, and ``fitwell.train.Trainer`` is in it. Importing a
    subpackage sets the attribute of that name on its parent; a data descriptor on the class of the
    parent comes before it.

    Args:
        name: The verb.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, package: object, kind: type | None = None) -> Any:
        if importlib.util.find_spec(f"fitwell.{self.name}") is None:
            return _verb(self.name)
        module = importlib.import_module(f"fitwell.{self.name}")
        module.__class__ = _Family
        return module

    def __set__(self, package: object, value: object) -> None:
        """Keep the verb when the import system offers the subpackage."""


class _Package(types.ModuleType):
    """The class of this module; it holds the verbs."""


for _name in _VERBS:
    setattr(_Package, _name, _VerbName(_name))
sys.modules[__name__].__class__ = _Package
