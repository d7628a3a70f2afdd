"""Every probe, in the middle of every training: it goes on to the bits it would have reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fitwell import doctor
from fitwell.doctor import state_digest
from fitwell.verbs._probe._table import PROBES

from ..train.problems import examples
from .programs import PROGRAMS, Parts, compiled, numbers, seeded, train

Ask = Callable[[Parts], Any]
LOSS = F.cross_entropy
HELD_OUT = examples(seed=7)
OF_DATA = {
    "adversarial_validation": {"permutations": 1, "classifier": "logistic"},
    "label_permutation": {"permutations": 1},
}


def states(parts: Parts) -> list[dict[str, torch.Tensor]]:
    """The weights of a program, and two others that lie not on a line with them."""
    found = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        model = getattr(parts[0], "_orig_mod", parts[0])
        found.append(
            {
                name: t.detach().cpu() + 0.01 * seed * torch.randn(t.shape, generator=generator)
                if t.is_floating_point()
                else t.detach().clone()
                for name, t in model.state_dict().items()
            }
        )
    return found


def of_curvature(name: str, **more: Any) -> Ask:
    return lambda parts: getattr(doctor, name)(doctor.Curvature(parts[0], LOSS, parts[3]), **more)


def of_model(name: str, **more: Any) -> Ask:
    return lambda parts: getattr(doctor, name)(parts[0], LOSS, parts[3], **more)


ASKS: dict[str, Ask] = {
    "sanity_step": lambda parts: doctor.sanity_step(parts[0], LOSS, parts[1][0], parts[3]),
    "expected_initial_loss": of_model("expected_initial_loss"),
    "overfit_one_batch": lambda parts: doctor.overfit_one_batch(
        parts[0], LOSS, parts[3], optimizer=parts[1][0], steps=5, draws=1
    ),
    "gradient_flow": of_model("gradient_flow"),
    "timing": lambda parts: doctor.timing(parts[0], LOSS, parts[1][0], parts[3], steps=10),
    "gradient_noise_scale": of_model("gradient_noise_scale"),
    "simple_models": lambda parts: doctor.simple_models(
        examples(), HELD_OUT, model=parts[0], only=("linear",)
    ),
    "generalization_gap": lambda parts: doctor.generalization_gap(
        parts[0], LOSS, parts[3], parts[3]
    ),
    "generalization_bound": lambda parts: doctor.generalization_bound(parts[0], parts[3], parts[3]),
    "sharpness": of_model("sharpness", draws=2, steps=2, subspace=4),
    "modes": lambda parts: doctor.modes(parts[0], LOSS, parts[3], parts[3]),
    "input_ablation": of_model("input_ablation"),
    "critical_point": of_model("critical_point", max_products=24, exact_up_to=1),
    "loss_line": of_model("loss_line", points=3),
    "loss_plane": of_model("loss_plane", points=2),
    "interpolation": lambda parts: doctor.interpolation(
        parts[0], LOSS, parts[3], *states(parts)[:2], points=2
    ),
    "plane_through": lambda parts: doctor.plane_through(
        parts[0], LOSS, parts[3], states(parts), points=2
    ),
    "trajectory_plane": lambda parts: doctor.trajectory_plane(
        parts[0], LOSS, parts[3], states(parts), points=2
    ),
    "spectral_density": of_curvature("spectral_density", probes=2, steps=3),
    "extreme_eigenvalues": of_curvature("extreme_eigenvalues", max_products=6),
    "curvature": lambda parts: doctor.estimate_trace(
        doctor.Curvature(parts[0], LOSS, parts[3], mode="train"), products=6
    ),
}


def asks(name: str) -> Ask:
    """Give how a probe of the table is put to a program, so that a new one is not forgotten."""
    if name in ASKS:
        return ASKS[name]
    probe, more = getattr(doctor, name), OF_DATA.get(name, {})
    if name.startswith("label_"):
        return lambda parts: probe(parts[3].examples, **more)
    return lambda parts: probe(parts[3].examples, HELD_OUT, **more)


NAMES = [
    *ASKS,
    *(n for n, one in PROBES.items() if one.kind in ("model", "data") and n not in ASKS),
]


@pytest.mark.parametrize("program", [*PROGRAMS, "compiled"])
def test_a_training_goes_on_to_the_same_bits_after_all_probes(program: str) -> None:
    build, how = PROGRAMS.get(program, (compiled, {}))
    seeded()
    alone = build()
    train(alone, **how)
    train(alone, **how)
    expected = numbers(alone)

    seeded()
    parts = build()
    train(parts, **how)
    before = state_digest(*parts)
    for name in NAMES:
        if not hasattr(parts[3], "examples") and name not in ASKS:
            continue  # of the data alone
        result = asks(name)(parts)
        assert result is not None
        assert state_digest(*parts) == before, name
    train(parts, **how)
    found = numbers(parts)
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
