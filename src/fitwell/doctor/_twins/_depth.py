"""Where a model can be made deeper or shallower: its blocks, and layers with what follows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from torch import nn

from ._trace import Step, copied, fan_in_scale, is_conv, is_dense, is_layer, put, redrawn

Called = dict[nn.Module, Step]
Chain = nn.Sequential | nn.ModuleList


@final
@dataclass(eq=False)
class Site:
    """A hidden layer or block, with the activation and normalization after it.

    Args:
        parts: The modules, in their order.
        chain: What holds them; None for a layer that its module holds by a name of its own.
        square: Whether it gives what has the shape of what it takes.
        block: Whether it holds layers, and is none itself.
        names: Of the parts in the chain.
    """

    parts: list[nn.Module]
    chain: Chain | None
    square: bool
    block: bool
    names: list[str] = field(default_factory=list)

    @property
    def head(self) -> nn.Module:
        """The layer or block itself."""
        return self.parts[0]


def sites_of(model: nn.Module, called: Called, last: nn.Module) -> tuple[list[Site], int]:
    """Give the sites of one kind, in their order, and how many hidden parts of it there are.

    Blocks that keep the shape if there are any, else layers in chains, else layers that modules
    hold by name.

    Args:
        model: That was run.
        called: What `trace` gave.
        last: The layer that gives the outputs; never a site.
    """
    chains: list[Chain] = [
        module for module in model.modules() if isinstance(module, (nn.Sequential, nn.ModuleList))
    ]
    groups = [group for chain in chains for group in _groups(chain, called, last)]
    square = [group for group in groups if group.block and group.square]
    blocks = _outermost([b for b in square if not _is_all(b, square, last)])
    if blocks:
        beside = [g for g in groups if g.block and any(g.chain is b.chain for b in blocks)]
        return blocks, len(beside)
    layers = [group for group in groups if not group.block]
    if layers:
        return layers, len(layers)
    in_chain = {id(child) for chain in chains for child in chain.children()}
    named = [
        Site([module], None, step.keeps_shape, block=False)
        for module, step in called.items()
        if _is_hidden(module, step, last) and id(module) not in in_chain
    ]
    return named, len(named)


def has_layers(module: nn.Module) -> bool:
    """Say whether a module is or holds a layer with weights.

    Args:
        module: Any.
    """
    return any(is_layer(part) for part in module.modules())


def squared(layer: Any) -> nn.Module | None:
    """Give a fresh layer that takes and gives what a layer gives, drawn like it.

    Args:
        layer: Dense or a convolution.
    """
    made: nn.Module
    if is_dense(layer):
        made = copied("deeper", layer)
        made.in_features = layer.out_features
        shape: tuple[int, ...] = (layer.out_features, layer.out_features)
    elif is_conv(layer) and not layer.transposed:
        own = layer.groups == layer.in_channels > 1
        size = tuple(k if k % 2 else 3 for k in layer.kernel_size)
        kind: Callable[..., nn.Module] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(size) - 1]
        made = kind(
            layer.out_channels,
            layer.out_channels,
            size,
            padding=tuple(d * (k // 2) for k, d in zip(size, layer.dilation, strict=True)),
            dilation=layer.dilation,
            groups=layer.out_channels if own else layer.groups,
            bias=layer.bias is not None,
            padding_mode=layer.padding_mode,
        )
        shape = tuple(made.get_parameter("weight").shape)
    else:
        return None
    scale = fan_in_scale(tuple(layer.weight.shape), shape)
    made.weight = redrawn(layer.weight, shape, scale)
    if layer.bias is not None:
        made.bias = redrawn(layer.bias, tuple(layer.bias.shape))
    return made


def fresh(module: nn.Module) -> nn.Module:
    """Give a copy with parameters drawn anew, like the old ones.

    Args:
        module: Stays as it is.
    """
    made = copied("deeper", module)
    for part in made.modules():
        for name, p in list(part._parameters.items()):
            if p is not None:
                setattr(part, name, redrawn(p, tuple(p.shape)))
    return made


def edit(model: nn.Module, plan: Sequence[tuple[Site, Sequence[nn.Module]]]) -> None:
    """Put other modules into the places of sites.

    Args:
        model: Changed in place.
        plan: Sites, and what comes there instead; nothing takes the site out.
    """
    for chain in {id(site.chain): site.chain for site, _ in plan}.values():
        some = [(site, new) for site, new in plan if site.chain is chain]
        if chain is None:
            for site, new in some:
                made = nn.Identity() if not new else nn.Sequential(*new)
                put(model, site.head, new[0] if len(new) == 1 else made)
            continue
        there = {site.names[0]: (site, new) for site, new in some}
        gone = {name for site, _ in some for name in site.names}
        items: list[tuple[str, nn.Module]] = []
        for name, child in list(chain._modules.items()):
            if name in there:
                site, parts = there[name]
                own = dict(zip(map(id, site.parts), site.names, strict=True))
                items += [(own.get(id(p), f"{name}_{n}"), p) for n, p in enumerate(parts)]
            items += [] if name in gone else [(name, child)]
        _fill(model, chain, items)


def stack(module: nn.RNNBase, layers: int) -> None:
    """Give a recurrent module another number of layers, drawn like the last ones, in place.

    Args:
        module: Of torch's.
        layers: How many.
    """
    old = dict(module._parameters)
    kind: Callable[..., nn.RNNBase] = type(module)
    extra = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
    if isinstance(module, nn.LSTM):
        extra["proj_size"] = module.proj_size
    made = kind(
        module.input_size,
        module.hidden_size,
        layers,
        bias=module.bias,
        batch_first=module.batch_first,
        dropout=module.dropout if layers > 1 else 0.0,
        bidirectional=module.bidirectional,
        **extra,
    )
    for name, p in list(made._parameters.items()):
        kept = old.get(name)
        if kept is None and p is not None:
            alike = [v for k, v in old.items() if _kind(k) == _kind(name) and v is not None]
            kept = redrawn(alike[-1], tuple(p.shape))
        setattr(made, name, kept)
    module.__dict__.update(made.__dict__ | {"training": module.training})


def spread(count: int, among: int) -> list[int]:
    """Give `count` of the places 0 to `among` - 1, evenly, the last first.

    Args:
        count: How many.
        among: Of how many.
    """
    return [(n + 1) * among // count - 1 for n in range(count)]


def _outermost(blocks: Sequence[Site]) -> list[Site]:
    """Leave out blocks within others; one alone in its chain gives way to several within it."""
    found: list[Site] = []
    for block in blocks:
        if any(_within(block, other) for other in blocks):
            continue
        inner = [other for other in blocks if _within(other, block)]
        alone = sum(other.chain is block.chain for other in blocks) == 1
        found += _outermost(inner) if alone and len(inner) > 1 else [block]
    return found


def _is_all(block: Site, blocks: Sequence[Site], last: nn.Module) -> bool:
    """Say whether a block goes up to the outputs, and has none of its kind beside it."""
    alone = sum(other.chain is block.chain for other in blocks) == 1
    return alone and any(part is last for part in block.head.modules())


def _within(site: Site, other: Site) -> bool:
    return site is not other and any(part is site.head for part in other.head.modules())


def _fill(model: nn.Module, chain: Chain, items: list[tuple[str, nn.Module]]) -> None:
    """Give a chain other members, and tell its parent how many if it keeps count."""
    before = len(chain)
    numbered = isinstance(chain, nn.ModuleList) or all(n.isdigit() for n in chain._modules)
    chain._modules.clear()
    for number, (name, module) in enumerate(items):
        chain._modules[str(number) if numbered else name] = module
    for parent in model.modules():
        if not any(child is chain for child in parent.children()):
            continue
        for name, value in list(vars(parent).items()):
            if type(value) is int and value == before and re.search("layer|depth|block", name):
                setattr(parent, name, len(chain))


def _groups(chain: Chain, called: Called, last: nn.Module) -> list[Site]:
    """Cut a chain into layers or blocks with what follows them and keeps the shape."""
    found: list[Site] = []
    follows = False
    for name, child in chain._modules.items():
        step = called.get(child)
        if has_layers(child):
            block = not is_layer(child)
            follows = False
            if step is None or (child is last) or isinstance(child, nn.RNNBase):
                continue
            if not block and not _is_hidden(child, step, last):
                continue
            if block and step.calls > 1:
                continue
            found.append(Site([child], chain, step.keeps_shape, block, [name]))
            follows = isinstance(chain, nn.Sequential)
        elif follows and step is not None and step.keeps_shape:
            found[-1].parts.append(child)
            found[-1].names.append(name)
        else:
            follows = False
    return found


def _is_hidden(module: nn.Module, step: Step, last: nn.Module) -> bool:
    known = is_dense(module) or is_conv(module)
    return known and module is not last and step.calls == 1


def _kind(name: str) -> tuple[str, bool]:
    """Give what a parameter of a recurrent module is for, whatever its layer."""
    return name.split("_l")[0], name.endswith("_reverse")
