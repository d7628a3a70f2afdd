"""Losses that are scaled: sizes of gradients, and steps that the scaler skips."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fitwell.doctor import Watch

from .watched import batches, network


def scaled(
    scaler: Any, watch: Callable[[Any, Any], Watch], steps: int = 8, dtype: Any = torch.float32
) -> Watch:
    """Train with a scaler that is updated before the watch hears of the step, as in any loop."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer) as seen:
        for _, (x, y) in zip(range(steps), batches(), strict=False):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            scaler.scale(loss.to(dtype)).backward()
            scaler.step(optimizer)
            scaler.update()
            seen.step(loss)
    return seen


def growing(scale: float) -> Any:
    return torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1)


def test_sizes_are_those_of_the_scale_of_the_step_itself() -> None:
    """It doubles after each step, before the watch is told."""
    scaler = growing(256.0)
    watch = scaled(scaler, lambda model, by: Watch(model, by, every=2, scaler=scaler))
    looks, summary = watch.record()["looks"], watch.summary()
    assert looks["gradient_norm_unclipped"] == pytest.approx(looks["gradient_norm"], rel=1e-5)
    assert looks["micro_norm"] == pytest.approx(looks["gradient_norm"], rel=1e-5)
    assert looks["skipped"] == [0.0] * 4
    assert summary["clipped"] == 0.0
    assert summary["without_step"] == 0


def test_steps_that_are_skipped_are_no_missing_ones() -> None:
    """The first scales are too large for half precision, as at the start of any training."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**18, growth_interval=1000)

    def made(model: Any, optimizer: Any) -> Watch:
        return Watch(model, optimizer, every=2, scaler=scaler)

    watch = scaled(scaler, made, 12, torch.float16)
    looks, summary = watch.record()["looks"], watch.summary()
    assert looks["skipped"][0] == 1.0
    assert looks["skipped"][-1] == 0.0
    assert looks["optimizer_steps"][0] == 0.0
    assert summary["without_step"] == 0
    assert summary["largest_gradient_norm"] < 100
    assert summary["clipped"] == 0.0
    assert summary["unmoved"] == []


def test_a_missing_step_is_told_with_a_scaler_too() -> None:
    scaler = growing(256.0)
    idle = SimpleNamespace(scale=scaler.scale, step=lambda by: None, update=lambda: None)
    watch = scaled(idle, lambda model, by: Watch(model, by, every=2, scaler=scaler), 4)
    assert watch.summary()["without_step"] == 2


@pytest.mark.parametrize("way", ["wrapper", "bind"])
def test_a_scaler_that_comes_with_the_optimizer_or_later_is_known(way: str) -> None:
    scaler = growing(256.0)

    def watched(model: Any, optimizer: Any) -> Watch:
        watch = Watch(every=2)
        if way == "bind":
            watch.bind(model, optimizer, scaler=scaler)
        else:
            watch.bind(model, SimpleNamespace(optimizer=optimizer, scaler=scaler))
        return watch

    looks = scaled(scaler, watched).record()["looks"]
    assert looks["gradient_norm_unclipped"] == pytest.approx(looks["gradient_norm"], rel=1e-5)
