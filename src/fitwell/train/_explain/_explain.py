"""From an error to its explanation: the rules in order, and the context that applies them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from torch import nn

from ...core.errors import FitwellError
from .._memory import is_out_of_memory
from . import _code, _graph, _losses, _machine, _placement, _shapes, _values, _weights
from ._explanation import Explanation, Rule
from ._scene import Scene

_RULES: tuple[Rule, ...] = (
    *_losses.RULES,  # before the shapes and types of anything else
    *_placement.RULES,
    *_shapes.RULES,
    *_graph.RULES,
    *_values.RULES,
    *_weights.RULES,
    *_machine.RULES,
    *_code.RULES,
)


def explain(err: BaseException, model: nn.Module | None = None) -> Explanation | None:
    """Say what an error of torch means: the layer, the tensors, the cause, the one-line fix.

    Reads the message and the traceback; nothing has to be watched before. Knows wrong shapes,
    types, devices, labels and loss inputs, graphs that are used twice or not at all, writing in
    place, memory, weights that do not fit, NaN, missing files, data workers and wrong calls.

    Not covered: errors that Python itself explains well, and faults that raise no error.

    Args:
        err: The error, with its traceback.
        model: The model that ran, so that layers are named by their path in it; without it the
            outermost module of the traceback is taken.

    Returns:
        None if it is an error of another kind, or one of fitwell's, which explain themselves.

    Source: paszke2019pytorch.
    Checked against: each mistake made on purpose with the installed torch.
    """
    if isinstance(err, FitwellError) or not isinstance(err, Exception):
        return None
    try:
        return _explained(Scene(err, model))
    except Exception:  # what explains an error must never hide it
        return None


def _explained(scene: Scene) -> Explanation | None:
    if is_out_of_memory(scene.error):
        return _machine.memory(scene)
    if isinstance(scene.error, FileNotFoundError):
        return _machine.missing_file(scene)
    for pattern, rule in _RULES:
        match = re.search(pattern, scene.text)
        explanation = rule(match, scene) if match is not None else None
        if explanation is not None:
            return explanation
    return None


@contextlib.contextmanager
def explain_errors(model: nn.Module | None = None, *, owner: str = "train") -> Iterator[None]:
    """Turn errors of torch that pass into errors that say where, why, and what to do.

    Around any code that trains or predicts, one's own loop too. It costs nothing while all goes
    well: no hooks, no watching. The error that is raised is a `UsageError`, a `TrainingError` when
    memory runs out or numbers become NaN, a `RunError` for weights that do not fit, a `DataError`
    for a missing file; the first error stays its ``__cause__``. What cannot be explained passes
    unchanged.

    Args:
        model: The model that runs, so that layers are named by their path in it.
        owner: Who speaks, at the start of the message.

    Raises:
        FitwellError: An error passed that can be explained.

    Source: paszke2019pytorch.
    Checked against: each mistake made on purpose with the installed torch.

    Example:
        with fitwell.explain_errors(model):
            loss = criterion(model(inputs), targets)
    """
    try:
        yield
    except Exception as err:
        explanation = explain(err, model)
        if explanation is None:
            raise
        raise explanation.error(owner) from err
