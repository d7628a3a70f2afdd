"""On a GPU: a watch never waits for it, and changes nothing."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fitwell.doctor import Watch, state_digest

from .watched import CLASSES, FEATURES, batches, network

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator"),
]


def train(watched: bool, steps: int = 12) -> tuple[str, Watch | None]:
    """Train on batches that are there already; with a watch nothing may wait for the device."""
    model = network().cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    pairs = [(x.cuda(), y.cuda()) for _, (x, y) in zip(range(steps), batches(), strict=False)]
    torch.manual_seed(0)
    watch = Watch(model, optimizer, nn.CrossEntropyLoss(), every=3) if watched else None
    torch.cuda.set_sync_debug_mode("error" if watched else "default")
    try:
        for x, y in pairs:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if watch is not None:
                watch.step(loss, (x, y))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if watch is not None:
        watch.close()
    return state_digest(model, optimizer), watch


def test_nothing_waits_for_the_device_and_nothing_changes() -> None:
    plain, _ = train(watched=False)
    seen, watch = train(watched=True)
    assert seen == plain
    assert watch is not None
    assert watch.notes == []
    record = watch.record()
    assert record["looks"]["step"] == [1, 4, 7, 10]
    assert len(record["loss"]["loss"]) == 12
    assert None not in record["looks"]["gradient_norm"]
    assert sum(record["targets"]["counts"]) == 4 * 8


def test_numbers_are_those_of_the_cpu() -> None:
    found = []
    for device in ("cpu", "cuda"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(FEATURES, 16), nn.ReLU(), nn.Linear(16, CLASSES)).to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Watch(model, optimizer, every=2) as watch:
            for _, (x, y) in zip(range(6), batches(), strict=False):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x.to(device)), y.to(device))
                loss.backward()
                optimizer.step()
                watch.step(loss)
        found.append(watch.record())
    for field in ("gradient_norm", "update_norm", "gradient_cosine", "weights_finite"):
        assert found[1]["looks"][field] == pytest.approx(found[0]["looks"][field], rel=1e-3)
    assert found[1]["loss"]["loss"] == pytest.approx(found[0]["loss"]["loss"], rel=1e-4)
