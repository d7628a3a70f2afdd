"""A look: the hooks of one step, and the numbers they leave."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, final

from torch import Tensor, nn

from . import _activations as act
from ._arrivals import Arrivals
from ._batches import input_statistics, output_spread, split_batch
from ._hooks import Hooks
from ._looks import Key
from ._memory import Memory
from ._parameters import Sight, all_finite, movements, norms_of, owned_by, products, total_norm

_CALLS: Final = 4
"""Calls of one module that are told apart; the last one stands for those beyond."""

_STEPS: Final = 3
"""Steps of each optimizer after which a look is left to itself, and its hooks are taken away."""

_PASSES, _IDLE = 512, 64
"""Passes forward after which it is given up: in all, and without a gradient."""

_NODES: Final = 256

_MODES = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
"""Layers that do something else in training."""


@final
class Look:
    """What is seen of one step; of the step after it, `full` is false, and less is seen.

    Args:
        memory: From earlier looks.
        clock: Seconds.
        full: Look at layers and parameters; otherwise at times and directions alone.
        scaler: What scales losses, if anything does.
    """

    def __init__(
        self, memory: Memory, clock: Callable[[], float], *, full: bool, scaler: Any = None
    ) -> None:
        self.memory = memory
        self.full = full
        self.given_up = False
        self.hooks = Hooks(clock, memory.notes)
        self.values: dict[Key, Tensor | float] = {}
        self.gradients: dict[str, Tensor] = {}
        self.updates: dict[str, Tensor] = {}
        self.optimizer_steps = 0
        named = memory.inner.named_parameters()
        self._trained = {name: p for name, p in named if p.requires_grad}
        self.sight = Sight(self._trained)
        self._marks: dict[str, float] = {}
        self._arrivals = Arrivals(scaler)
        self._outputs: Tensor | None = None
        self._last_output: Tensor | None = None
        self._targets: Tensor | None = None
        self._seen_inputs = False
        self._calls: dict[str, int] = {}
        self._fresh = True
        self._last: nn.Module | None = None
        self._nodes: deque[Any] = deque(maxlen=_NODES)  # of the pass at hand
        self._passes = self._idle = 0
        self._norms: dict[str, Tensor] = {}
        self._in_eval: set[str] = set()
        self._before: dict[str, Tensor] = {}

    def attach(self) -> None:
        """Put the hooks in, and remember the weights."""
        self._before = self.sight.weights()
        made, keep, memory = self.hooks.made, self.hooks.keep, self.memory
        if "" not in memory.shy:
            root, before = memory.model, made(self._before_model, grad=True)
            keep(root.register_forward_pre_hook(before, with_kwargs=True))
            keep(root.register_forward_hook(made(self._after_model, grad=True)))
        for optimizer in memory.optimizers:
            if hasattr(optimizer, "register_step_pre_hook"):
                keep(optimizer.register_step_pre_hook(made(self._before_step)))
                keep(optimizer.register_step_post_hook(made(self._after_step)))
        if self.full:
            self._attach_full()
        else:
            begin = made(self._begin_forward, grad=True)
            for name, layer in memory.leaves.items():
                if name not in memory.shy:
                    keep(layer.register_forward_pre_hook(begin))

    def _attach_full(self) -> None:
        made, keep, memory = self.hooks.made, self.hooks.keep, self.memory
        finite = all_finite(self._trained.values())
        if finite is not None:
            self.put("look", "", {"weights_finite": finite})
        for name in memory.leaves:
            if name not in memory.shy:
                self._attach_layer(name)
        for gate in memory.gates:
            keep(gate.register_forward_pre_hook(made(self._attach_shy, grad=True)))
            keep(gate.register_forward_pre_hook(made(self.hooks.remove_fleeting, grad=False)))
        if isinstance(memory.loss_fn, nn.Module):
            hook = made(self._before_loss, grad=True)
            keep(memory.loss_fn.register_forward_pre_hook(hook))
        for name, parameter in self._trained.items():
            if parameter.is_leaf:
                leaf: Any = parameter
                keep(leaf.register_hook(made(self._arrivals.hook(name, parameter))))
                keep(leaf.register_post_accumulate_grad_hook(made(self._accumulated(name))))

    def _attach_layer(self, name: str, *, fleeting: bool = False) -> None:
        hook = self.hooks.made(self._after_layer(name), grad=True)
        layer = self.memory.leaves[name]
        self.hooks.keep(layer.register_forward_hook(hook), fleeting=fleeting)

    def _attach_shy(self, layer: nn.Module, args: Any) -> None:
        """See layers that do something else in evaluation where they find hooks."""
        if not self.hooks.any_fleeting and not self.given_up:
            for name in self.memory.leaves:
                if name in self.memory.shy:
                    self._attach_layer(name, fleeting=True)

    def put(self, section: str, name: str, found: Mapping[str, Tensor | float]) -> None:
        """Keep numbers.

        Args:
            section: Of the record.
            name: Of the module or parameter.
            found: By field.
        """
        for field, value in found.items():
            self.values[section, name, field] = value

    def _mark(self, what: str) -> None:
        """Remember the time, without what the hooks of this look took."""
        self._marks[what] = self.hooks.now

    def _begin_forward(self, *args: Any) -> None:
        self._marks.setdefault("forward", self.hooks.now)

    def _before_model(self, layer: nn.Module, args: Any, kwargs: Any) -> None:
        self._begin_forward(layer, args)
        self._passes += 1
        self._idle += self.full  # gradients are not seen otherwise
        if self._passes > _PASSES or self._idle > _IDLE:
            self.given_up = True
        if self.given_up or self.optimizer_steps >= _STEPS * len(self.memory.optimizers):
            self.hooks.remove()
            self.memory.notes("a look ended early: `step` of the watch was not called for long")
            return
        if self.full:
            inputs, targets = split_batch(kwargs)
            self._inputs((args, inputs))
            self._targets = targets if targets is not None else self._targets

    def _inputs(self, inputs: Any) -> None:
        self.put("inputs", "", input_statistics(inputs))
        self._seen_inputs = True

    def _before_loss(self, layer: nn.Module, args: Any) -> None:
        tensors = list(act.tensors_of(args))
        if len(tensors) > 1:
            self._outputs, self._targets = tensors[0].detach(), tensors[1].detach()

    def _after_model(self, layer: nn.Module, args: Any, output: Any) -> None:
        self._mark("forward_end")
        self._nodes.clear()
        if not self.full:
            return
        self._mode()
        outputs = act.floats_of([tensor for tensor in act.tensors_of(output) if tensor.ndim])
        if outputs is not None:
            self._outputs = outputs.detach()
            self.memory.operations["output"] = operations(outputs)[:1]

    def _mode(self) -> None:
        """Remember which layers that behave differently in training are in evaluation mode."""
        model = self.memory.inner
        self._in_eval.clear()
        self.put("look", "", {"training": float(model.training)})
        for name, module in model.named_modules():
            if not module.training and (isinstance(module, _MODES) or module is model):
                self._in_eval.add(name)

    def _after_layer(self, name: str) -> Callable[..., None]:
        def seen(layer: nn.Module, args: Any, output: Any) -> None:
            tensor = act.floats_of(output)
            if tensor is None:
                return
            if self._fresh:
                self._fresh, self._last = False, None
                self._calls.clear()
                self._nodes.clear()
            self._begin_forward()
            self._last_output = tensor.detach()
            self._layer(name, layer, act.floats_of(args), tensor)
            self._mark("forward_end")

        return seen

    def _layer(self, name: str, layer: nn.Module, given: Tensor | None, tensor: Tensor) -> None:
        self._calls[name] = call = min(self._calls.get(name, 0) + 1, _CALLS)
        label = name if call == 1 else f"{name} ({call})"
        kind = act.kind_of(layer)
        if given is not None and isinstance(layer, act.WEIGHTED):
            made = act.made_by(given)
            if made is not None and made[1] not in self._nodes:  # a function, not a layer
                self._activation(f"before {label}", made[0], given)
        if given is not None:
            self.put("modules", label, {"input_finite": act.is_finite(given)})
        if kind is None:
            self.put("modules", label, act.output_statistics(tensor, None))
        else:
            self._activation(label, kind, tensor)
            self._nodes.append(tensor.grad_fn)
        if isinstance(layer, act.NORMALIZING) and given is not None:
            self.put("normalization", label, act.normalization_statistics(layer, given))
        if isinstance(layer, act.WEIGHTED):
            self._last = layer

    def _activation(self, label: str, kind: str, tensor: Tensor) -> None:
        found = act.output_statistics(tensor, kind)
        if kind == "relu":
            axis = act.unit_axis(tensor, self._last)
            active = act.active_units(act.part_of(tensor), axis)
            found["dead"] = 1 - active.float().mean()
            found["always_dead"] = self.memory.add_active(label, active)
        self.put("modules", label, found)

    def _accumulated(self, name: str) -> Callable[..., None]:
        def arrived(parameter: Tensor) -> None:
            self._fresh, self._idle = True, 0
            self._arrivals.added(name, parameter)

        return arrived

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        self._marks.setdefault("step", self.hooks.now)
        if _closure(args, kwargs) is None:  # with one, gradients come while the step is taken
            self._take(optimizer)

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if _closure(args, kwargs) is not None:
            self._take(optimizer)
        self.optimizer_steps += 1
        self._mark("step_end")

    def _take(self, optimizer: Any) -> None:
        """Read the gradients of what an optimizer steps, and of what none does."""
        several = len(self.memory.optimizers) > 1 and optimizer is not None
        wanted = {id(p) for p in owned_by([optimizer]) or ()} if several else None
        all_owned = {id(p) for p in owned_by(self.memory.optimizers) or ()} if several else set()
        chosen = {
            name: p.grad
            for name, p in self._trained.items()
            if p.grad is not None
            and (wanted is None or id(p) in wanted or id(p) not in all_owned)
            and name not in self._arrivals.stepped
        }
        self._arrivals.stepped |= set(chosen)
        scale = getattr(optimizer, "grad_scale", None)
        if self.full:
            for name, norm in zip(chosen, norms_of(list(chosen.values())), strict=True):
                self._norms[name] = norm if scale is None else norm / scale
                self.put("parameters", name, {"gradient_norm": self._norms[name]})
        for name, entries in self.sight.gradients(chosen).items():
            self.gradients[name] = entries if scale is None else entries / scale

    def finish(self, began: float, now: float, batch: Any) -> None:
        """Take the hooks away and read what is left to read.

        Args:
            began: When the step before ended.
            now: When this step ended.
            batch: What the step was taken on, if known.
        """
        self.hooks.remove()
        self._nodes.clear()
        self._times(began, now)
        if not self.optimizer_steps:
            self._take(None)
        if any(hasattr(one, "register_step_pre_hook") for one in self.memory.optimizers):
            self.put("look", "", {"optimizer_steps": float(self.optimizer_steps)})
        self.updates, moved = movements(self._before, self.sight.weights())
        self._before = {}
        if not self.full:
            return
        for name, found in moved.items():
            self.put("parameters", name, found)
        for field in ("update_norm", "weight_norm"):
            self._put_total(field, [found[field] for found in moved.values()])
        self._put_total("gradient_norm", list(self._norms.values()))
        self.put("look", "", self._arrivals.totals())
        if batch is not None:
            inputs, targets = split_batch(batch)
            self._targets = targets if targets is not None else self._targets
            if not self._seen_inputs:
                self._inputs(inputs)
        if self._outputs is not None:
            self.put("outputs", "", output_spread(self._outputs))
        if self._targets is not None:
            outputs = self._last_output if self._outputs is None else self._outputs
            self.put("targets", "", self.memory.labels.take(self._targets, outputs))
        if ("look", "", "training") not in self.values:  # its forward was not seen
            self._mode()
        for name in self._in_eval:
            self.memory.in_eval[name] = self.memory.in_eval.get(name, 0) + 1
        if not any(section == "modules" for section, _, _ in self.values):
            self.memory.notes(
                "layers were not seen to run: the model is compiled, or called in a way of its own"
            )

    def join(self, second: Look) -> None:
        """Take over what the step after it says.

        Args:
            second: The look at that step.
        """
        for name, one, other in (
            ("gradient", self.gradients, second.gradients),
            ("update", self.updates, second.updates),
        ):
            found = products(one, other)
            if found is not None:
                self.put("look", "", {f"{name}_{field}": v for field, v in found.items()})
        self.values.update({k: v for k, v in second.values.items() if k[0] == "seconds"})
        if not self.sight.whole:
            self.memory.notes(
                "updates and directions are those of evenly spaced entries of the weights"
            )

    def _put_total(self, field: str, norms: Sequence[Tensor]) -> None:
        total = total_norm(norms)
        if total is not None:
            self.put("look", "", {field: total})

    def _times(self, began: float, now: float) -> None:
        """Split the time of the step; on a GPU these are times of the host."""
        marks = {"begin": began, **self._marks, "end": now - self.hooks.seconds}
        if "forward" in marks and marks.get("step", now) < marks["forward"]:
            del marks["step"]  # the whole pass is in the optimizer's closure
        spans = (
            ("wait", "begin", "forward"),
            ("forward", "forward", "forward_end"),
            ("backward", "forward_end", "step"),
            ("step", "step", "step_end"),
            ("rest", "step_end", "end"),
        )
        for name, first, last in spans:
            if first in marks and last in marks and marks[last] >= marks[first]:
                self.put("seconds", "", {name: marks[last] - marks[first]})
        self.put("seconds", "", {"all": marks["end"] - began})


def _closure(args: Any, kwargs: Any) -> Any:
    """Give the closure of a step; hooks get the optimizer itself as its first argument."""
    return args[1] if len(args) > 1 else kwargs.get("closure")


def operations(loss: Tensor, most: int = 8) -> list[str]:
    """Name the functions that a tensor came out of, from the last one back.

    Args:
        loss: With its graph; of several inputs the first is followed.
        most: Names at most.
    """
    names: list[str] = []
    node: Any = loss.grad_fn
    while node is not None and len(names) < most:
        name = node.name().partition("Backward")[0]
        if name != "AccumulateGrad":
            names.append(name)
        following = [n for n, _ in node.next_functions if n is not None]
        inner = [n for n in following if "AccumulateGrad" not in n.name()]
        node = (inner or following or [None])[0]
    return names
