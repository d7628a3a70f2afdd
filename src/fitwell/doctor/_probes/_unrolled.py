"""Recurrent layers as plain loops over time, so that the state of every step can be seen.

T time, B batch, F features, D of the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

State = tuple[Tensor, ...]
"""(h,), or (h, c) of an LSTM."""

Seen = Callable[[str, int, State], None]
"""Takes in the layer and direction, the number of the step, and the state after it."""

GATES: Final = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def unrolled(layer: nn.RNNBase, seen: Seen) -> Callable[..., Any]:
    """Give a `forward` that computes the same as that of the layer, in loops.

    Args:
        layer: Of any depth, with both directions, dropout, projections, packed sequences.
        seen: Called for each step with its state, in the order in which steps are computed.
    """

    def forward(inputs: Any, hx: Any = None) -> Any:
        packed = inputs if isinstance(inputs, PackedSequence) else None
        x, lengths = pad_packed_sequence(packed) if packed is not None else (inputs, None)
        first = layer.batch_first and packed is None
        single = x.ndim == 2
        if single:
            x = x.unsqueeze(1)
        elif first:
            x = x.transpose(0, 1)
        start = _start(layer, x, hx, single)
        mask = None
        if lengths is not None:
            within = torch.arange(len(x))[:, None] < lengths
            mask = within.unsqueeze(2).to(x.device)
        x, ends = _layers(layer, x, start, mask, seen)
        final = tuple(torch.stack(parts) for parts in zip(*ends, strict=True))
        if packed is not None and lengths is not None:
            output: Any = _packed(x, packed, lengths)
        else:
            output = x.squeeze(1) if single else (x.transpose(0, 1) if first else x)
        if single:
            final = tuple(part.squeeze(1) for part in final)
        return output, (final if layer.mode == "LSTM" else final[0])

    return forward


def _start(layer: nn.RNNBase, x: Tensor, hx: Any, single: bool) -> State:
    """Give the first state of all layers and directions, each (layers, B, D)."""
    if hx is not None:
        given = tuple(hx) if isinstance(hx, (tuple, list)) else (hx,)
        return tuple(part.unsqueeze(1) for part in given) if single else given
    count = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or layer.hidden_size]
    sizes += [layer.hidden_size] if layer.mode == "LSTM" else []
    return tuple(x.new_zeros(count, x.shape[1], size) for size in sizes)


def _layers(
    layer: nn.RNNBase, x: Tensor, start: State, mask: Tensor | None, seen: Seen
) -> tuple[Tensor, list[State]]:
    """Run all layers and directions; give the outputs and the last states."""
    ends: list[State] = []
    for depth in range(layer.num_layers):
        outputs = []
        for suffix in ("", "_reverse") if layer.bidirectional else ("",):
            state = tuple(part[len(ends)] for part in start)
            output, end = _loop(layer, f"_l{depth}{suffix}", x, state, mask, seen)
            outputs.append(output)
            ends.append(end)
        x = torch.cat(outputs, dim=2) if len(outputs) > 1 else outputs[0]
        if depth < layer.num_layers - 1:
            x = F.dropout(x, layer.dropout, layer.training)
    return x, ends


def _loop(
    layer: nn.RNNBase, part: str, x: Tensor, state: State, mask: Tensor | None, seen: Seen
) -> tuple[Tensor, State]:
    """Run one layer in one direction."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    w_x, w_h, b_x, b_h, w_out = (getattr(layer, f"{name}{part}", None) for name in names)
    driven = F.linear(x, w_x, b_x)  # type: ignore[arg-type]
    times = range(len(x))
    outputs: list[Tensor] = [x] * len(x)
    for number, time in enumerate(reversed(times) if part.endswith("_reverse") else times):
        fed = F.linear(state[0], w_h, b_h)  # type: ignore[arg-type]
        new = _cell(layer.mode, driven[time], fed, state)
        if w_out is not None:
            new = (F.linear(new[0], w_out), *new[1:])
        if mask is not None:  # a sequence that has ended keeps its state
            new = tuple(torch.where(mask[time], a, b) for a, b in zip(new, state, strict=True))
        state = new
        seen(part, number, state)
        outputs[time] = state[0] if mask is None else state[0] * mask[time]
    return torch.stack(outputs), state


def _cell(mode: str, driven: Tensor, fed: Tensor, state: State) -> State:
    """Give the state after a step; `driven` comes from the inputs, `fed` from the state."""
    if mode == "LSTM":
        i, f, g, o = (driven + fed).chunk(4, dim=1)
        c = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c
    if mode == "GRU":
        (r, z, n), (r_h, z_h, n_h) = driven.chunk(3, dim=1), fed.chunk(3, dim=1)
        z = (z + z_h).sigmoid()
        n = (n + (r + r_h).sigmoid() * n_h).tanh()
        return ((1 - z) * n + z * state[0],)
    return ((driven + fed).relu() if mode == "RNN_RELU" else (driven + fed).tanh(),)


def _packed(x: Tensor, like: PackedSequence, lengths: Tensor) -> PackedSequence:
    """Pack outputs in the order in which the inputs were packed."""
    order = like.sorted_indices
    if order is not None:
        x, lengths = x[:, order], lengths[order.cpu()]
    data = pack_padded_sequence(x, lengths).data
    return PackedSequence(data, like.batch_sizes, order, like.unsorted_indices)
