"""Rules on mixed precision: scaling, unscaling, clipping, updates."""

from __future__ import annotations

import pytest

from tests.lint.asked import found_in, rules_in

from .steps_programs import TOP, loop

SCALER = "scaler = torch.amp.GradScaler()"
FORWARD = """
optimizer.zero_grad()
with torch.autocast("cuda"):
    loss = criterion(model(x), y)
"""
CLASS = (
    TOP
    + """
class Trainer:
    def __init__(self, model):
        self.model = model
        self.optimizer = optim.SGD(model.parameters(), lr=0.1)
        self.scaler = torch.cuda.amp.GradScaler()

    def fit(self, train_loader):
        self.model.train()
        for x, y in train_loader:
            self.optimizer.zero_grad()
            with torch.autocast("cuda"):
                loss = F.cross_entropy(self.model(x), y)
"""
)
BOTH = """
if scaler is not None:
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
else:
    loss.backward()
    optimizer.step()
"""
APART = """
if use_amp:
    scaler.scale(loss).backward()
else:
    loss.backward()
if use_amp:
    scaler.step(optimizer)
    scaler.update()
else:
    optimizer.step()
"""


def scaled(body: str, setup: str = SCALER) -> str:
    """Give a loop with the forward pass in mixed precision, and what comes after it."""
    return loop(FORWARD + body, setup)


def of_class(body: str) -> str:
    """Give the same in a class."""
    return CLASS + "".join(f"            {line}\n" for line in body.strip().splitlines())


CLIPPED = {
    "by value": scaled(
        """
scaler.scale(loss).backward()
nn.utils.clip_grad_value_(model.parameters(), 0.5)
scaler.step(optimizer)
scaler.update()
"""
    ),
    "in a class": of_class(
        """
self.scaler.scale(loss).backward()
torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
self.scaler.step(self.optimizer)
self.scaler.update()
"""
    ),
    "unscaled too late": scaled(
        """
scaler.scale(loss).backward()
nn.utils.clip_grad_norm_(model.parameters(), 1.0)
scaler.unscale_(optimizer)
scaler.step(optimizer)
scaler.update()
"""
    ),
    "under a condition": loop(
        FORWARD
        + """
scaler.scale(loss).backward()
if clip is not None:
    nn.utils.clip_grad_norm_(model.parameters(), clip)
scaler.step(optimizer)
scaler.update()
""",
        SCALER,
        parameters=", clip=None",
    ),
    "a name for the scaled loss": scaled(
        """
scaled = scaler.scale(loss)
scaled.backward()
nn.utils.clip_grad_norm_(model.parameters(), 1.0)
scaler.step(optimizer)
scaler.update()
"""
    ),
    "a function of its own": "from torch.nn.utils import clip_grad_norm_\n"
    + scaled(
        """
scaler.scale(loss).backward()
clip_grad_norm_(model.parameters(), 1.0)
scaler.step(optimizer)
scaler.update()
"""
    ),
}

UNSCALED = {
    "in its place": scaled(
        """
scaler.scale(loss).backward()
scaler.unscale_(optimizer)
nn.utils.clip_grad_norm_(model.parameters(), 1.0)
scaler.step(optimizer)
scaler.update()
"""
    ),
    "only if it clips": loop(
        FORWARD
        + """
scaler.scale(loss).backward()
if clip:
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), clip)
scaler.step(optimizer)
scaler.update()
""",
        SCALER,
        parameters=", clip=0.0",
    ),
    "accumulated": loop(
        """
        with torch.autocast("cuda"):
            loss = criterion(model(x), y) / 4
        scaler.scale(loss).backward()
        if (i + 1) % 4 == 0:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        """,
        SCALER,
    ),
    "a scaled limit": scaled(
        """
scaler.scale(loss).backward()
nn.utils.clip_grad_norm_(model.parameters(), 1.0 * scaler.get_scale())
scaler.step(optimizer)
scaler.update()
"""
    ),
    "one of two ways": loop(
        FORWARD
        + """
if use_amp:
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
else:
    loss.backward()
nn.utils.clip_grad_norm_(model.parameters(), 1.0)
if use_amp:
    scaler.step(optimizer)
    scaler.update()
else:
    optimizer.step()
""",
        SCALER,
        parameters=", use_amp=True",
    ),
    "in both ways": loop(FORWARD + BOTH, parameters=", scaler=None"),
    "in both ways, apart": loop(FORWARD + APART, SCALER, parameters=", use_amp=True"),
    "leaving early": loop(
        FORWARD
        + """
if use_amp:
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    continue
loss.backward()
optimizer.step()
""",
        SCALER,
        parameters=", use_amp=True",
    ),
    "without a scaler": scaled("loss.backward()\noptimizer.step()", ""),
    "an optimizer that is not scaled": scaled(
        """
scaler.scale(loss).backward()
scaler.unscale_(optimizer)
if torch.isfinite(loss):
    optimizer.step()
scaler.update()
"""
    ),
}

NOT_UPDATED = {
    "plain": scaled("scaler.scale(loss).backward()\nscaler.step(optimizer)"),
    "in a class": of_class("self.scaler.scale(loss).backward()\nself.scaler.step(self.optimizer)"),
    "of torch.cuda": scaled(
        "scaler.scale(loss).backward()\nscaler.step(optimizer)",
        "scaler = torch.cuda.amp.GradScaler(init_scale=1024.0)",
    ),
    "a parameter": TOP
    + """
def train_one_epoch(model, train_loader, optimizer, scaler):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        with torch.autocast("cuda"):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
""",
    "with clipping": scaled(
        """
scaler.scale(loss).backward()
scaler.unscale_(optimizer)
nn.utils.clip_grad_norm_(model.parameters(), 1.0)
scaler.step(optimizer)
"""
    ),
}

NOT_SCALED = {
    "plain": scaled("loss.backward()\nscaler.step(optimizer)\nscaler.update()"),
    "in a class": of_class(
        "loss.backward()\nself.scaler.step(self.optimizer)\nself.scaler.update()"
    ),
    "with clipping": scaled(
        """
loss.backward()
scaler.unscale_(optimizer)
nn.utils.clip_grad_norm_(model.parameters(), 1.0)
scaler.step(optimizer)
scaler.update()
"""
    ),
    "of torch.cuda": scaled(
        "loss.backward()\nscaler.step(optimizer)\nscaler.update()",
        "scaler = torch.cuda.amp.GradScaler()",
    ),
    "accumulated": loop(
        """
        with torch.autocast("cuda"):
            loss = criterion(model(x), y) / 4
        loss.backward()
        if (i + 1) % 4 == 0:
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
        """,
        SCALER,
    ),
}

PLAIN_STEP = {
    "in one of two ways": loop(
        FORWARD
        + """
if use_amp:
    scaler.scale(loss).backward()
else:
    loss.backward()
if use_amp:
    optimizer.step()
    scaler.update()
else:
    optimizer.step()
""",
        SCALER,
        parameters=", use_amp=True",
    ),
    "plain": scaled("scaler.scale(loss).backward()\noptimizer.step()\nscaler.update()"),
    "without an update": scaled("scaler.scale(loss).backward()\noptimizer.step()"),
    "in a class": of_class(
        "self.scaler.scale(loss).backward()\nself.optimizer.step()\nself.scaler.update()"
    ),
    "a name for the scaled loss": scaled(
        "scaled = scaler.scale(loss)\nscaled.backward()\noptimizer.step()\nscaler.update()"
    ),
    "accumulated": loop(
        """
        with torch.autocast("cuda"):
            loss = criterion(model(x), y) / 4
        scaler.scale(loss).backward()
        if (i + 1) % 4 == 0:
            optimizer.step()
            scaler.update()
            optimizer.zero_grad()
        """,
        SCALER,
    ),
}


@pytest.mark.parametrize("text", CLIPPED.values(), ids=CLIPPED)
def test_clipping_of_scaled_gradients_is_found(text: str) -> None:
    assert rules_in(text) == ["clip-before-unscale"]
    assert found_in(text)[0].severity == "error"


@pytest.mark.parametrize("text", UNSCALED.values(), ids=UNSCALED)
def test_a_scaler_in_order_is_silent(text: str) -> None:
    assert rules_in(text) == []


@pytest.mark.parametrize("text", NOT_UPDATED.values(), ids=NOT_UPDATED)
def test_a_scaler_without_update_is_found(text: str) -> None:
    assert rules_in(text) == ["scaler-without-update"]


@pytest.mark.parametrize("text", NOT_SCALED.values(), ids=NOT_SCALED)
def test_a_scaler_without_scaling_is_found(text: str) -> None:
    assert rules_in(text) == ["scaler-step-without-scale"]


@pytest.mark.parametrize("text", PLAIN_STEP.values(), ids=PLAIN_STEP)
def test_a_step_past_the_scaler_is_found(text: str) -> None:
    assert rules_in(text) == ["scaled-loss-plain-step"]
