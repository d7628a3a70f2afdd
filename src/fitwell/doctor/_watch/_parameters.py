"""Parameters: who owns them, what their gradients are, how far they move."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

ENTRIES = 2**16
"""Numbers of a model that are compared from step to step; more are thinned out evenly."""

_FEWEST = 64  # of each parameter
_DEPTH = 4  # how deep lists and dicts are searched for what is not registered


def owned_by(optimizers: Iterable[Any]) -> list[Tensor] | None:
    """Give the tensors that optimizers step, or None if one does not say.

    Args:
        optimizers: Of torch, which have groups of parameters, or others.
    """
    found: list[Tensor] = []
    for optimizer in optimizers:
        groups = getattr(optimizer, "param_groups", None)
        if groups is None:
            return None
        found += [p for group in groups for p in group["params"]]
    return found


def ownership(model: nn.Module, optimizers: Sequence[Any]) -> dict[str, Any]:
    """Say which parameters are trained by whom, by name.

    Args:
        model: The model.
        optimizers: What steps it.
    """
    named = dict(model.named_parameters())
    own = {id(p) for p in named.values()}
    owned = owned_by(optimizers)
    known = None if owned is None else {id(p) for p in owned}
    return {
        "parameters": len(named),
        "frozen": [name for name, p in named.items() if not p.requires_grad],
        "not_in_optimizer": None
        if known is None
        else [name for name, p in named.items() if p.requires_grad and id(p) not in known],
        "only_in_optimizer": None if owned is None else sum(id(p) not in own for p in owned),
        "shared": [names for names in _shared(model) if len(names) > 1],
        "unregistered": sorted(set(_unregistered(model, own))),
    }


def _shared(model: nn.Module) -> list[list[str]]:
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return list(names.values())


def _unregistered(model: nn.Module, own: set[int]) -> Iterator[str]:
    """Give parameters that hang on plain attributes, where `parameters()` does not find them."""
    for path, module in model.named_modules():
        for name, value in list(vars(module).items()):
            if not name.startswith("_"):
                where = f"{path}.{name}" if path else name
                yield from _hidden(value, where, own, _DEPTH)


def _hidden(value: Any, where: str, own: set[int], depth: int) -> Iterator[str]:
    if isinstance(value, nn.Module):
        for name, parameter in value.named_parameters():
            if id(parameter) not in own:
                yield f"{where}.{name}"
    elif isinstance(value, nn.Parameter):
        if id(value) not in own:
            yield where
    elif depth and isinstance(value, (list, tuple)):
        for number, item in enumerate(value[:1000]):
            yield from _hidden(item, f"{where}[{number}]", own, depth - 1)
    elif depth and isinstance(value, dict):
        for key, item in list(value.items())[:1000]:
            yield from _hidden(item, f"{where}[{key!r}]", own, depth - 1)


def norms_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Give the norm of each tensor.

    Args:
        tensors: Dense ones, or sparse gradients.
    """
    dense = [t.detach() for t in tensors if t.layout == torch.strided]
    norms = iter(torch._foreach_norm(dense)) if dense else iter(())
    return [
        next(norms)
        if t.layout == torch.strided
        else torch.linalg.vector_norm(t.detach().coalesce().values())
        for t in tensors
    ]


def total_norm(norms: Iterable[Tensor]) -> Tensor | None:
    """Give the norm of everything from the norms of its parts; None of nothing.

    Args:
        norms: Of parts, on whatever devices.
    """
    parts = list(norms)
    if not parts:
        return None
    joined = torch.stack([norm.float().to(parts[0].device) for norm in parts])
    total: Tensor = torch.linalg.vector_norm(joined)
    return total


def all_finite(tensors: Iterable[Tensor]) -> Tensor | None:
    """Say whether all numbers are finite, without waiting; None of nothing.

    Args:
        tensors: On whatever devices.
    """
    full = [tensor.detach() for tensor in tensors if tensor.numel()]
    if not full:
        return None
    largest = torch._foreach_norm(full, math.inf)
    return torch.stack([one.isfinite().to(full[0].device) for one in largest]).all()


@final
class Sight:
    """The entries of parameters that are compared from step to step.

    Args:
        parameters: By name.
    """

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        self.parameters = dict(parameters)
        total = sum(p.numel() for p in self.parameters.values())
        thin = max(1, -(-total // ENTRIES))
        self._strides = {
            name: max(1, min(thin, p.numel() // _FEWEST)) for name, p in self.parameters.items()
        }
        self.whole = thin == 1

    def of(self, name: str, tensor: Tensor) -> Tensor:
        """Give a copy of the entries of one tensor that are looked at, as a vector.

        Args:
            name: Of the parameter.
            tensor: Of its shape.
        """
        flat = tensor.detach().reshape(-1)[:: self._strides[name]]
        return flat.float() if flat.dtype in (torch.float16, torch.bfloat16) else flat.clone()

    def weights(self) -> dict[str, Tensor]:
        """Give the entries of all parameters as they are now."""
        return {name: self.of(name, p) for name, p in self.parameters.items()}

    def gradients(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give the entries of gradients; sparse ones are left out.

        Args:
            gradients: By name of the parameter.
        """
        dense = ((n, g) for n, g in gradients.items() if g.layout == torch.strided)
        return {name: self.of(name, gradient) for name, gradient in dense}


def movements(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """Give updates, and for each how large it is and how many entries moved.

    Args:
        before: Entries of weights.
        after: The same, after a step; their memory is taken for the updates.
    """
    names = list(before)
    updates = {name: after[name].sub_(before[name]) for name in names}
    sizes, weights = norms_of(list(updates.values())), norms_of(list(before.values()))
    return updates, {
        name: {
            "update_norm": size,
            "weight_norm": weight,
            "update_ratio": size / weight.clamp(min=torch.finfo(weight.dtype).tiny),
            "moved": (updates[name] != 0).sum() / updates[name].numel(),
        }
        for name, size, weight in zip(names, sizes, weights, strict=True)
    }


def products(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Give the inner products of two sets of vectors; None unless they are of the same parameters.

    Args:
        one: By name.
        other: By name.
    """
    if not one or one.keys() != other.keys():
        return None
    sizes = [total_norm(norms_of(list(vectors.values()))) for vectors in (one, other)]
    if sizes[0] is None or sizes[1] is None:
        return None
    floor = torch.finfo(torch.float32).tiny
    first, second = (size.clamp(min=floor) for size in sizes if size is not None)
    parts = [
        torch.dot(
            one[n].float() / first.to(one[n].device), other[n].float() / second.to(one[n].device)
        )
        for n in one
    ]
    cosine = torch.stack([part.to(first.device) for part in parts]).sum()
    return {"dot": cosine * first * second, "first": first, "second": second, "cosine": cosine}


def noise_scale(
    small: Sequence[float], large: Sequence[float], small_size: float, large_size: float
) -> float | None:
    """Give the gradient noise scale: the batch size at which noise and signal are equally large.

    From mean squared norms of gradients over few and over many examples. None where the noise
    drowns the signal, or where there is nothing to compare.

    Args:
        small: Squared norms over `small_size` examples.
        large: Squared norms over `large_size` examples, of the same steps.
        small_size: Examples.
        large_size: Examples, more than `small_size`.

    Source: mccandlish2018empirical, appendix A.1.
    Checked against: the covariance of gradients of single examples.
    """
    if not small or not large or not large_size > small_size > 0:
        return None
    noise, signal = noise_and_signal(small, large, small_size, large_size)
    return max(noise, 0.0) / signal if signal > 0 else None


def noise_and_signal(
    small: Sequence[float], large: Sequence[float], small_size: float, large_size: float
) -> tuple[float, float]:
    """Give the trace of the covariance of single gradients and the squared norm of their mean.

    Both without bias, and therefore below 0 at times.

    Args:
        small: Squared norms over `small_size` examples.
        large: Squared norms over `large_size` examples, of the same steps.
        small_size: Examples.
        large_size: Examples, more than `small_size`.
    """
    few, many = sum(small) / len(small), sum(large) / len(large)
    noise = (few - many) / (1 / small_size - 1 / large_size)
    signal = (large_size * many - small_size * few) / (large_size - small_size)
    return noise, signal
