"""A trained network with what it takes to build it again.

N examples, K outputs.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..core.errors import UsageError
from ..data import Batches, Examples, Schema, as_examples
from ..tasks import TASKS, Answers, ModelChoice
from ..train import outputs_of


@final
class Network:
    """A network that answers for raw inputs.

    Pickled, a network of fitwell's own is its printed form and NumPy arrays; one of the user's own
    is pickled as a module, which needs its class where it is read.

    Args:
        spec: Printed form of the model; None if it is the user's own.
        schema: Of the training data.
        scaling: What the task measured on it.
        module: The network, from `build_module`.
    """

    def __init__(
        self, spec: str | None, schema: Schema, scaling: Mapping[str, Any], module: nn.Module
    ) -> None:
        self.spec = spec
        self.schema = schema
        self.scaling = dict(scaling)
        self.module = module.eval()

    def answers(self, X: npt.NDArray[Any], owner: str) -> Answers:
        """Answer for inputs, in double precision as far as the network gives it.

        Args:
            X: Like the training inputs; (N, ...).
            owner: Who asks, for messages.

        Raises:
            UsageError: They are of another kind or shape.
        """
        given = self._read(X, owner)
        module, device = self.module, next(self.module.parameters()).device
        inputs = given.inputs
        exact = self.spec is not None and self.schema.kind == "table" and device.type == "cpu"
        if exact and isinstance(inputs, Tensor):
            # The last bits of a float32 product depend on how many rows are multiplied together.
            # An answer must not, and for the small networks of tables double costs little.
            module = copy.deepcopy(module).double()
            given = replace(given, inputs=inputs.double())
        outputs = outputs_of(module, Batches(given, 256, device=device))
        return TASKS[self.schema.kind].describe(outputs.double(), self.schema)

    def _read(self, X: npt.NDArray[Any], owner: str) -> Examples:
        read = as_examples(X, np.zeros(len(X)), target_kind="number", owner=owner)
        kind, shape = self.schema.kind, self.schema.input_shape
        if (read.schema.kind, read.schema.input_shape) != (kind, shape):
            raise UsageError(
                f"{owner}: `X` must be {kind} of shape (N, *{shape}), as it was in fit; got"
                f" {read.schema.kind} of shape {X.shape} and type {X.dtype}."
                " Prepare both alike."
            )
        return replace(read, targets=None, schema=self.schema)

    def weights(self) -> dict[str, Tensor]:
        """Give a copy of the weights on the CPU."""
        state = self.module.state_dict()
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def __getstate__(self) -> dict[str, Any]:
        if self.spec is None:
            return dict(vars(self))
        return {
            "spec": self.spec,
            "schema": self.schema.to_dict(),
            "scaling": self.scaling,
            "weights": {name: tensor.numpy() for name, tensor in self.weights().items()},
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "module" in state:
            vars(self).update(state)
            return
        schema = Schema.from_dict(state["schema"])
        with seeded(0):
            module = build_module(state["spec"], schema, state["scaling"])
        weights = {name: torch.from_numpy(array.copy()) for name, array in state["weights"].items()}
        module.load_state_dict(weights)
        self.__init__(state["spec"], schema, state["scaling"], module)


def build_module(choice: ModelChoice, schema: Schema, scaling: Mapping[str, Any]) -> nn.Module:
    """Build a network with initial weights.

    Args:
        choice: Printed form of the model, or what the user gave; a module is copied.
        schema: Of the training data.
        scaling: What the task measured on it.
    """
    choice = copy.deepcopy(choice) if isinstance(choice, nn.Module) else choice
    return TASKS[schema.kind].build_model(choice, schema, scaling)


@contextlib.contextmanager
def seeded(seed: int, device: str = "cpu") -> Iterator[None]:
    """Draw from torch's global generators by a seed, and leave them as they were.

    Args:
        seed: The seed.
        device: Whose generator is put back besides that of the CPU.
    """
    with torch.random.fork_rng(devices=[device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield
