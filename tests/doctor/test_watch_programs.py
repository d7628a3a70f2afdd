"""A watch changes nothing: every program with every way of training, to the bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fitwell.doctor import Watch, state_digest
from fitwell.nn import CNN

BATCH, STEPS = 6, 4


def dense() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.3), nn.Linear(12, 3)
    )


def images() -> nn.Module:
    net = CNN(widths=(4,), in_channels=1, image_size=(8, 8), out_features=3)
    return nn.Sequential(nn.Unflatten(1, (1, 8, 8)), net)


class Sequence(nn.Module):
    """Two recurrent layers with dropout between them."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.LSTM(2, 6, 2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.read(x.unflatten(1, (4, 2)))[0][:, -1])
        return answer


class Attention(nn.Module):
    """One layer of a transformer, which draws its dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        answer: Tensor = self.head(self.layer(x.unflatten(1, (2, 4))).mean(dim=1))
        return answer


PROGRAMS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "dense": (dense, 8),
    "images": (images, 64),
    "sequence": (Sequence, 8),
    "attention": (Attention, 8),
}

WAYS = ("plain", "accumulate", "bf16", "scaler", "compiled", "two optimizers", "closure", "average")


def batches(width: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    while True:
        x = torch.randn(BATCH, width, generator=generator)
        yield x, x[:, :3].argmax(dim=1)


def optimizers_of(model: nn.Module, way: str) -> list[torch.optim.Optimizer]:
    parameters = list(model.parameters())
    if way == "two optimizers":
        half = len(parameters) // 2
        return [
            torch.optim.SGD(parameters[:half], lr=0.1, momentum=0.9),
            torch.optim.AdamW(parameters[half:], lr=0.01),
        ]
    if way == "closure":
        return [torch.optim.LBFGS(parameters, lr=0.1, max_iter=2, history_size=2)]
    return [torch.optim.AdamW(parameters, lr=0.01)]


def train(program: str, way: str, watched: bool) -> tuple[str, list[float], Watch | None]:
    """Train a little; give a digest of all that is left, the losses, and the watch."""
    torch.manual_seed(0)
    make, width = PROGRAMS[program]
    model = make()
    forward: Any = torch.compile(model, backend="eager") if way == "compiled" else model
    optimizers = optimizers_of(model, way)
    mean = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    )
    scaler = torch.amp.GradScaler("cpu", enabled=way == "scaler", init_scale=64.0)
    schedules = [torch.optim.lr_scheduler.StepLR(one, 2) for one in optimizers]
    parts = 3 if way == "accumulate" else 1
    source, losses = batches(width), []
    watch = Watch(forward, optimizers, every=2, scaler=scaler) if watched else None

    def gradients() -> Tensor:
        for optimizer in optimizers:
            optimizer.zero_grad()
        total = torch.zeros(())
        for x, y in group:
            with torch.autocast("cpu", torch.bfloat16, enabled=way in ("bf16", "scaler")):
                loss = F.cross_entropy(forward(x).float(), y) / parts
            scaler.scale(loss).backward()
            total += loss.detach()
        return total

    for _ in range(STEPS):
        group = [next(source) for _ in range(parts)]
        if way == "closure":
            loss = optimizers[0].step(gradients)
        else:
            loss = gradients()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
        for schedule in schedules:
            schedule.step()
        if way == "average":
            mean.update_parameters(model)
        losses.append(float(loss))
        if watch is not None:
            watch.step(loss, group[-1])
    if watch is not None:
        watch.close()
    parts_left = (model, mean, *optimizers, *schedules, scaler.state_dict())
    return state_digest(*parts_left), losses, watch


CASES = [
    (program, way)
    for program, way in itertools.product(PROGRAMS, WAYS)
    if (program, way) != ("sequence", "compiled")  # torch leaves recurrent layers uncompiled
]


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
@pytest.mark.parametrize(("program", "way"), CASES, ids=["-".join(case) for case in CASES])
def test_training_is_the_same_to_the_bit_and_is_seen(program: str, way: str) -> None:
    if way == "compiled":
        torch._dynamo.reset()
    plain, losses, _ = train(program, way, watched=False)
    if way == "compiled":
        torch._dynamo.reset()
    seen, seen_losses, watch = train(program, way, watched=True)
    assert seen == plain
    assert seen_losses == losses
    assert watch is not None
    record, summary = watch.record(), watch.summary()
    assert record["loss"]["loss"] == pytest.approx(losses)
    assert record["looks"]["step"] == [1, 3]
    assert min(record["looks"]["gradient_norm"]) > 0
    assert summary["carried"] in (0, None)
    assert summary["unmoved"] == summary["no_gradient"] == summary["not_in_optimizer"] == []
    assert bool(record["modules"]) is (way != "compiled")
    assert len(watch.notes) == (way == "compiled")


def test_a_group_of_one_that_skips_its_synchronization(tmp_path: Path) -> None:
    """Accumulation under `no_sync` of distributed training."""
    import torch.distributed as dist

    dist.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1
    )
    try:
        results = []
        for watched in (False, True):
            torch.manual_seed(0)
            model = nn.parallel.DistributedDataParallel(dense())
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            watch = Watch(model, optimizer, every=2) if watched else None
            source = batches(8)
            for _ in range(STEPS):
                optimizer.zero_grad()
                with model.no_sync():
                    x, y = next(source)
                    (F.cross_entropy(model(x), y) / 2).backward()
                x, y = next(source)
                loss = F.cross_entropy(model(x), y) / 2
                loss.backward()
                optimizer.step()
                if watch is not None:
                    watch.step(loss, (x, y))
            if watch is not None:
                watch.close()
                assert watch.record()["looks"]["passes"] == [2.0, 2.0]
                assert watch.summary()["carried"] == 0
                assert list(watch.record()["modules"])[:2] == ["module.0", "module.1"]
                assert watch.notes == []
            results.append(state_digest(model.module, optimizer))
        assert results[0] == results[1]
    finally:
        dist.destroy_process_group()
