"""The numbers of K models in common memory, and one optimizer for all of them."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ... import optim
from ._member import Member

ELEMENTWISE: frozenset[type] = frozenset(
    {
        *(optim.SGD, optim.Adam, optim.AdamW, optim.SGDW, optim.Lion, optim.Yogi),
        *(optim.AdaBound, optim.AMSBound, optim.AdaBelief),
        *(torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop),
        *(torch.optim.Adagrad, torch.optim.Adadelta, torch.optim.Adamax, torch.optim.NAdam),
        torch.optim.RAdam,
    }
)
"""Optimizers that treat every number alone, so that one of them serves rows of numbers."""


@final
class Rows:
    """The parameters of K models of one architecture, laid out so that all can be changed at once.

    Of each parameter the K tensors lie after each other, a stacked ``leaf`` (K, ...) of which the
    models' parameters become rows; the leaves of a group of the optimizer lie after each other
    too. Gradients lie likewise: whoever computes them, they arrive in one place.

    Args:
        members: With models of one architecture and optimizers of one kind.
        idle: Names of parameters that get no gradient, which an optimizer leaves alone.
    """

    def __init__(self, members: Sequence[Member], idle: Collection[str] = ()) -> None:
        self.members = list(members)
        self._named = [dict(m.model.named_parameters()) for m in members]
        still = {name for name, p in self._named[0].items() if not p.requires_grad}
        self._places = _places(self._named[0], members[0].optimizer, {*idle, *still})
        self._idle = set(idle)
        self._old = [[p.data for p in named.values()] for named in self._named]
        self.values: list[Tensor] = []
        self.grads: list[Tensor] = []
        self.leaves: dict[str, Tensor] = {}
        for names in self._places:
            self._lay_out(names)
        self._settings: list[Any] = []
        self._merged = self._merge()

    def _lay_out(self, names: Sequence[str]) -> None:
        stacked = [torch.stack([named[name].detach() for named in self._named]) for name in names]
        if not stacked:  # nothing in the group learns
            self.values.append(torch.empty(0))
            self.grads.append(torch.empty(0))
            return
        stacked = [each.contiguous() for each in stacked]
        values = torch.cat([each.view(-1) for each in stacked])
        grads = torch.zeros_like(values)
        self.values.append(values)
        self.grads.append(grads)
        sizes = [each.numel() for each in stacked]
        parts = zip(
            names, stacked, torch.split(values, sizes), torch.split(grads, sizes), strict=True
        )
        for name, each, value, grad in parts:
            learns = self._named[0][name].requires_grad
            leaf = value.view(each.shape).requires_grad_(learns)
            leaf.grad = grad.view(each.shape) if learns else None
            self.leaves[name] = leaf
            for k, named in enumerate(self._named):
                named[name].data = leaf.detach()[k]
                kept = leaf.grad is not None and name not in self._idle
                named[name].grad = leaf.grad[k] if kept and leaf.grad is not None else None

    def _merge(self) -> Optimizer | None:
        """Make one optimizer of the members' if it treats every number alone."""
        first = self.members[0].optimizer
        self._settings = [_settings(member) for member in self.members]
        self._pieces: list[_Piece] = []
        self._runs: list[tuple[int, int]] = []  # of each group: its first member and its place
        if type(first) not in ELEMENTWISE:
            return None
        merged = copy.copy(first)
        merged.__dict__.update(state=defaultdict(dict), param_groups=[])
        if hasattr(first, "_found"):
            merged._found = {}  # type: ignore[attr-defined]
        for place in range(len(first.param_groups)):
            for run in self._alike(place):
                pieces = self._pieces_of(place, run)
                if not pieces:
                    continue
                settings = self.members[run[0]].optimizer.param_groups[place]
                kept = {key: value for key, value in settings.items() if key != "params"}
                merged.add_param_group({**kept, "params": [piece.values for piece in pieces]})
                self._runs.append((run[0], place))
                for piece in pieces:
                    self._carry_in(merged, piece)
                self._pieces += pieces
        return merged

    def _alike(self, place: int) -> list[list[int]]:
        """Give runs of members after each other whose groups have equal settings and schedules."""
        runs: list[list[int]] = []
        before: Any = None
        for k, member in enumerate(self.members):
            follows = k if getattr(member.schedule, "follows", False) else -1
            key: tuple[Any, ...] = (self._settings[k][place], member.schedule, follows)
            key += (member.step, member.total_steps, states_of(member)[place])
            if runs and key == before:
                runs[-1].append(k)
            else:
                runs.append([k])
            before = key
        return runs

    def _pieces_of(self, place: int, run: list[int]) -> list[_Piece]:
        """Give the memory of some members' parameters of a group, in as few pieces as can be."""
        names = self._places[place]
        if not names:
            return []
        if len(run) == len(self.members):
            return [_Piece(self.values[place], self.grads[place], names, run)]
        rows = slice(run[0], run[-1] + 1)
        leaves = [(name, self.leaves[name]) for name in names]
        return [
            _Piece(leaf.detach()[rows].view(-1), leaf.grad[rows].view(-1), [name], run)
            for name, leaf in leaves
            if leaf.grad is not None
        ]

    def _params_of(self, piece: _Piece) -> list[tuple[Optimizer, nn.Parameter]]:
        """Give the parameters that a piece holds, in their order in it."""
        return [
            (self.members[k].optimizer, self._named[k][name])
            for name in piece.names
            for k in piece.members
        ]

    def _carry_in(self, merged: Optimizer, piece: _Piece) -> None:
        """Take over what the members' optimizers keep."""
        kept = [optimizer.state.get(p, {}) for optimizer, p in self._params_of(piece)]
        shape = self._named[0][piece.names[0]].shape
        for name, value in kept[0].items():
            if name != "step" and isinstance(value, Tensor) and value.shape == shape:
                merged.state[piece.values][name] = torch.cat([s[name].reshape(-1) for s in kept])
            else:
                merged.state[piece.values][name] = copy.deepcopy(value)

    def zero(self) -> None:
        """Set all gradients to 0."""
        for grads in self.grads:
            grads.zero_()

    def step(self) -> None:
        """Clip where it is asked for, set the rates, and take a step of all members."""
        self._clip()
        if self._merged is None:
            for member in self.members:
                set_rates(member)
                member.optimizer.step()
            return
        for (k, place), group in zip(self._runs, self._merged.param_groups, strict=True):
            member = self.members[k]
            if member.schedule is not None:
                group["lr"] = member.base_rates[place] * member.factor()
        self._merged.step()

    def tell_rates(self) -> None:
        """Let the members' own optimizers know the rates of the step that was taken last."""
        if self._merged is None:
            return
        for (first, place), group in zip(self._runs, self._merged.param_groups, strict=True):
            for k in range(first, len(self.members)):
                self.members[k].optimizer.param_groups[place]["lr"] = group["lr"]

    def heed_settings(self) -> None:
        """Merge anew if somebody has changed settings of the members' optimizers."""
        if self._merged is not None and self._settings != [_settings(m) for m in self.members]:
            for piece in self._pieces:
                self._carry_out(self._merged, piece)
            self._merged = self._merge()

    def _clip(self) -> None:
        limits = [m.grad_clip_norm for m in self.members]
        if all(limit is None for limit in limits):
            return
        count = len(self.members[0].optimizer.param_groups)
        names = [name for place in self._places[:count] for name in place]
        grads = [g.flatten(1) for name in names if (g := self.leaves[name].grad) is not None]
        norms = torch.stack([(grad * grad).sum(1) for grad in grads]).sum(0).sqrt()
        most = torch.tensor([math.inf if limit is None else limit for limit in limits])
        # As torch.nn.utils.clip_grad_norm_ does.
        scale = (most.to(norms) / (norms + 1e-6)).clamp_(max=1.0).unsqueeze(1)
        for grad in grads:
            grad.mul_(scale)

    def release(self, *, keep: bool = True) -> None:
        """Give the models and optimizers their own memory back.

        Args:
            keep: With all that was learned; else as they were, which needs a merged optimizer.
        """
        if keep and self._merged is not None:
            for piece in self._pieces:
                self._carry_out(self._merged, piece)
        for named, old in zip(self._named, self._old, strict=True):
            for p, own in zip(named.values(), old, strict=True):
                if keep:
                    own.copy_(p.data)
                p.data = own
                p.grad = None

    def _carry_out(self, merged: Optimizer, piece: _Piece) -> None:
        """Give the members' optimizers what the merged one keeps."""
        state = merged.state.get(piece.values, {})
        params = self._params_of(piece)
        sizes = [p.numel() for _, p in params]
        split = {
            name: torch.split(value.view(-1), sizes)
            for name, value in state.items()
            if name != "step" and isinstance(value, Tensor) and value.numel() == sum(sizes)
        }
        for number, (optimizer, p) in enumerate(params):
            own = {
                name: torch.empty_like(p).copy_(split[name][number].view(p.shape))
                if name in split
                else copy.deepcopy(value)
                for name, value in state.items()
            }
            if own:
                optimizer.state[p] = own
            if hasattr(optimizer, "_found"):
                optimizer._found = {}


@final
class _Piece:
    """Memory that is one parameter of the merged optimizer: some parameters of some members."""

    def __init__(
        self, values: Tensor, grads: Tensor, names: Sequence[str], members: Sequence[int]
    ) -> None:
        self.values = values.detach().requires_grad_()
        self.values.grad = grads
        self.names, self.members = names, members


def set_rates(member: Member) -> None:
    """Set the rates of a member's own optimizer for its next step, if it has a schedule.

    Args:
        member: The member.
    """
    if member.schedule is None:
        return
    factor = member.factor()
    for group, base in zip(member.optimizer.param_groups, member.base_rates, strict=True):
        group["lr"] = base * factor


def _settings(member: Member) -> list[dict[str, Any]]:
    """Give the settings of a member's groups; a rate that a schedule sets is the base rate."""
    groups = []
    for group, base in zip(member.optimizer.param_groups, member.base_rates, strict=True):
        settings = {key: value for key, value in group.items() if key != "params"}
        groups.append(settings if member.schedule is None else {**settings, "lr": base})
    return groups


def states_of(member: Member) -> list[set[Any]]:
    """Give what a member's optimizer keeps of the parameters of each group: names, and steps.

    Args:
        member: The member.
    """
    kinds = []
    for group in member.optimizer.param_groups:
        states = [member.optimizer.state.get(p, {}) for p in group["params"] if p.requires_grad]
        kinds.append({(*sorted(map(str, state)), float(state.get("step", 0))) for state in states})
    return kinds


def _places(
    named: dict[str, nn.Parameter], optimizer: Optimizer, still: Collection[str]
) -> list[list[str]]:
    """Give the names of what learns by group of the optimizer, then of all that does not."""
    names = {id(p): name for name, p in named.items() if name not in still}
    groups = [
        [names.pop(id(p)) for p in group["params"] if id(p) in names]
        for group in optimizer.param_groups
    ]
    rest = [*names.values(), *(name for name in named if name in still)]
    return [*groups, rest] if rest else groups
