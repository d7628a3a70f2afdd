"""Let only a part of a model learn, all the time or for some epochs."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Literal, final

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...core.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from .._trainer import Trainer


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Let parameters keep their values, by patterns of their names; give the names.

    For fine-tuning on little data, where few numbers can be learned without overfitting. A batch
    norm none of whose parameters learns keeps its statistics too, in training mode as well:
    otherwise the frozen layers would change with the new data. Dropout stays as it is.

    Args:
        model: What is trained.
        patterns: Such as ``body.features.*``, or the name of a module for all in it.

    Raises:
        UnknownName: A pattern fits no parameter.
        UsageError: Nothing would be left to learn.

    Source: yosinski2014how, section 2.
    Reduces to: training all parameters, without patterns.
    Checked against: weights and statistics after training, bit for bit.
    """
    names = [name for name, _ in model.named_parameters()]
    frozen: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if fits(name, pattern)}
        if not found:
            raise unknown_name("freeze", "parameter or module", pattern, _prefixes(names))
        frozen |= found
    parameters = dict(model.named_parameters())
    if frozen and not any(p.requires_grad for n, p in parameters.items() if n not in frozen):
        raise UsageError(
            f"freeze: `patterns` must leave a parameter to learn; got {list(patterns)}, which"
            " fits all. Leave the last layer out."
        )
    for name in frozen:
        parameters[name].requires_grad_(False)
    _settle_statistics(model)
    return [name for name in names if name in frozen]


def fits(name: str, pattern: str) -> bool:
    """Tell whether a pattern is for a parameter or for a module that it is in.

    Args:
        name: Of the parameter.
        pattern: Such as ``body.features.*``.
    """
    return any(fnmatchcase(prefix, pattern) for prefix in _prefixes([name]))


def _prefixes(names: Sequence[str]) -> dict[str, None]:
    """Give names and those of the modules that they are in, each once, in order."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        found |= dict.fromkeys(".".join(parts[: end + 1]) for end in range(len(parts)))
    return found


def keeps_statistics(module: nn.Module) -> bool:
    """Tell whether a batch norm stays in evaluation mode while its model is trained.

    Args:
        module: Any module.
    """
    return vars(module).get("train") is not None


def _keep_statistics(module: nn.Module, keep: bool) -> None:
    """Shadow or uncover the method that sets the mode; copies of the module keep the shadow."""
    if keep:
        module.eval()
        module.train = partial(_stays_in_evaluation, module)  # type: ignore[method-assign]
    elif keeps_statistics(module):
        del module.train


def _stays_in_evaluation(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def _settle_statistics(model: nn.Module) -> None:
    """Let each batch norm keep its statistics if all of its parameters are frozen."""
    for module in model.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, _BatchNorm) and own:
            _keep_statistics(module, not any(parameter.requires_grad for parameter in own))


def keeps_the_same_statistics(source: nn.Module, target: nn.Module) -> None:
    """Freeze the batch-norm statistics of a copy where those of the original are frozen.

    Args:
        source: The original.
        target: Its copy, perhaps from before some were frozen or freed.
    """
    for one, other in zip(source.modules(), target.modules(), strict=True):
        if isinstance(other, _BatchNorm) and keeps_statistics(one) != keeps_statistics(other):
            _keep_statistics(other, keeps_statistics(one))


def layers_of(model: nn.Module) -> list[list[str]]:
    """Give the names of a model's parameters by layer, in the order the model defines them.

    A layer begins at each module that holds a matrix or filters, as for rates by layer
    (`optim.layer_groups`); vectors belong to the layer before them.

    Args:
        model: Any module.
    """
    layers: list[list[str]] = []
    seen: set[Tensor] = set()
    for path, module in model.named_modules():
        found = module.named_parameters(path, recurse=False)
        own = {name: parameter for name, parameter in found if parameter not in seen}
        seen.update(own.values())
        if own and (not layers or any(parameter.ndim > 1 for parameter in own.values())):
            layers.append([])
        if own:
            layers[-1] += own
    return layers


@final
class Unfreezing:
    """Let one more layer learn every few epochs, beginning with the last one (gradual unfreezing).

    For fine-tuning: the new head learns first, so that its first, random gradients do not spoil
    what the layers below know. Goes well with smaller rates for lower layers. What learns follows
    from the number of the epoch alone, so that a resumed training goes on as if it had not stopped.
    Parameters that were frozen before training stay frozen.

        layers that learn in epoch t = 0, 1, ... :  1 + ⌊t / every⌋

    Args:
        every: Epochs until the next layer.
        order: Whether the last or the first layer begins.

    Raises:
        UsageError: The number of epochs is not positive, there is nothing to learn, or several
            processes train together, which must agree on what learns from the start.

    Source: howard2018universal, section 3.3.
    Reduces to: training all layers, once all have been reached.
    Checked against: the parameters that change in each epoch.
    """

    def __init__(
        self, every: int = 1, order: Literal["last_first", "first_first"] = "last_first"
    ) -> None:
        if every < 1:
            raise UsageError(f"Unfreezing: `every` must be at least 1; got {every}.")
        if order not in ("last_first", "first_first"):
            raise UsageError(
                f"Unfreezing: `order` must be 'last_first' or 'first_first'; got {order!r}."
            )
        self.every = every
        self.order = order
        self._layers: list[list[str]] | None = None

    def __repr__(self) -> str:
        return f"Unfreezing(every={self.every}, order={self.order!r})"

    def on_fit_start(self, trainer: Trainer) -> None:
        """Freeze what is to wait.

        Args:
            trainer: At the start.
        """
        if trainer.replicas is not None:
            raise UsageError(
                "Unfreezing: `replicas` must be left out, since processes that train together"
                " settle at the start which parameters learn. Train in one process, or freeze."
            )
        if self._layers is None:
            learning = {n for n, p in trainer.model.named_parameters() if p.requires_grad}
            layers = [[n for n in layer if n in learning] for layer in layers_of(trainer.model)]
            self._layers = [layer for layer in layers if layer]
            if not self._layers:
                raise UsageError(
                    "Unfreezing: `model` must have parameters that learn; all are frozen."
                    " Freeze fewer."
                )
            if self.order == "last_first":
                self._layers.reverse()
        self._apply(trainer.model, trainer.epoch)

    def on_epoch(self, trainer: Trainer) -> None:
        """Let the next layer learn, if its epoch has come.

        Args:
            trainer: At the end of an epoch.
        """
        self._apply(trainer.model, trainer.epoch)

    def _apply(self, model: nn.Module, epoch: int) -> None:
        reached = 1 + epoch // self.every
        layers = self._layers or []
        for number, layer in enumerate(layers):
            for name in layer:
                model.get_parameter(name).requires_grad_(number < reached)
        _settle_statistics(model)
