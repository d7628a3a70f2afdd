"""What memory, files, weights, workers and modules do wrong is explained as well."""

from __future__ import annotations

import gc
import os
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from fitwell.train import explain

from .mistakes import Net, explained


def test_memory_proposes_batches_of_one_last() -> None:
    message = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB of"
        " which 1.20 GiB is free. Including non-PyTorch memory, this process has 14 GiB in use."
    )
    explanation = explain(torch.OutOfMemoryError(message))
    assert explanation is not None
    assert explanation.cause == (
        "the GPU is out of memory; 2 GiB more were asked for, and 1.20 GiB of 15.77 GiB are free"
    )
    words = ["accumulate", "--recompute", "bf16", "down to 1"]
    places = [explanation.fix.index(word) for word in words]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "mistake", [lambda: torch.empty(1 << 46), lambda: np.empty(1 << 46)], ids=["torch", "numpy"]
)
def test_a_tensor_larger_than_the_machine_has_a_wrong_shape(mistake: Callable[[], Any]) -> None:
    explanation = explained(mistake)
    assert explanation.kind == "memory"
    assert "TiB" in explanation.cause
    assert explanation.fix.startswith("A shape is wrong")
    plain = explain(MemoryError())
    assert plain is not None
    assert plain.cause == "the machine is out of memory"


def test_weights_that_do_not_fit() -> None:
    net = Net()
    weights = net.state_dict()
    wrapped = {f"module.{name}": value for name, value in weights.items()}
    explanation = explained(lambda: net.load_state_dict(wrapped))
    assert explanation.kind == "weights"
    assert 'removeprefix("module.")' in explanation.fix
    assert "6 missing (features.0.weight, features.0.bias, features.2.weight, ...)" in str(
        explanation
    )
    net.load_state_dict({name.removeprefix("module."): v for name, v in wrapped.items()})
    compiled = {f"_orig_mod.{name}": value for name, value in weights.items()}
    assert "torch.compile" in explained(lambda: net.load_state_dict(compiled)).fix
    parallel = nn.DataParallel(net)
    assert explained(lambda: parallel.load_state_dict(weights)).fix.endswith("into model.module.")
    whole = {"model_state_dict": weights, "epoch": 3}
    assert 'checkpoint["model_state_dict"]' in explained(lambda: net.load_state_dict(whole)).fix
    other = {**weights, "head.weight": torch.zeros(7, 64), "head.bias": torch.zeros(7)}
    explanation = explained(lambda: net.load_state_dict(other))
    assert "head.weight (7, 64) for (3, 64)" in explanation.cause
    assert explanation.fix.startswith("Only head differs")
    assert "state_dict()" in explained(lambda: net.load_state_dict(net)).fix  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(net.parameters())
    foreign = torch.optim.Adam([torch.zeros(2, requires_grad=True)]).state_dict()
    assert "optimizer" in explained(lambda: optimizer.load_state_dict(foreign)).cause


class Held:
    """A class that weights may not hold."""


def test_a_file_with_code_is_not_weights(tmp_path: Path) -> None:
    torch.save(Held(), tmp_path / "model.pt")
    explanation = explained(lambda: torch.load(tmp_path / "model.pt"))
    assert explanation.kind == "weights"
    assert "Held" in explanation.cause
    assert "state_dict()" in explanation.fix


def test_numbers_that_are_not_finite() -> None:
    weight = torch.zeros(1, requires_grad=True)

    def backward() -> None:
        with torch.autograd.detect_anomaly():
            (weight.sqrt() * 0).sum().backward()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says at length where
        explanation = explained(backward)
    assert explanation.kind == "not-finite"
    assert "SqrtBackward0" in explanation.cause
    assert "first_nonfinite" in explanation.fix
    weight.grad = torch.tensor([float("nan")])
    clip = explained(lambda: nn.utils.clip_grad_norm_([weight], 1.0, error_if_nonfinite=True))
    assert clip.kind == "not-finite"
    draw = explained(lambda: torch.multinomial(torch.tensor([float("nan"), 1.0]), 1))
    assert draw.kind == "not-finite"
    ill = nn.Linear(2, 2)
    nn.init.constant_(ill.bias, float("nan"))
    draw = explained(lambda: torch.multinomial(ill(torch.ones(2)), 1), ill)
    assert "bias is the first" in draw.cause


def test_a_missing_file_names_what_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Labels.csv").write_text("")
    explanation = explained((tmp_path / "labels.cvs").read_text)
    assert explanation.kind == "missing-file"
    assert explanation.fix == "Nearest in that folder: 'Labels.csv'."
    monkeypatch.chdir(tmp_path)
    explanation = explained(Path("data/labels.csv").read_text)
    assert "no folder 'data'" in explanation.cause
    assert str(tmp_path) in explanation.cause


class Rows(Dataset[Tensor]):
    """Four examples, each of which does something wrong."""

    def __init__(self, act: Callable[[int], Any]) -> None:
        self.act = act

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return self.act(index)


def load(act: Callable[[int], Any], **settings: Any) -> None:
    if "num_workers" in settings:
        gc.collect()  # a worker must not find the loader of an error before, and try to end it
    list(DataLoader(Rows(act), batch_size=2, **settings))


def test_a_batch_of_different_shapes() -> None:
    explanation = explained(lambda: load(lambda index: torch.zeros(index + 1)))
    assert explanation.kind == "shape"
    assert "collate_fn" in explanation.fix
    nothing = explained(lambda: load(lambda index: None))
    assert nothing.kind == "not-a-tensor"


def test_what_a_worker_raises_is_explained_as_if_it_were_here() -> None:
    explanation = explained(lambda: load(lambda index: torch.zeros(index + 1), num_workers=1))
    assert explanation.where == "DataLoader worker 0"
    assert "collate_fn" in explanation.fix
    explanation = explained(lambda: load(lambda index: open("none/a.png"), num_workers=1))
    assert explanation.kind == "missing-file"
    assert "'none'" in explanation.cause
    assert explanation.line.startswith("test_explain_machine.py:")


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGBUS, "shared memory"), (signal.SIGKILL, "num_workers")]
)
def test_a_worker_that_died(number: signal.Signals, said: str) -> None:
    def die(index: int) -> None:
        os.kill(os.getpid(), number)

    explanation = explained(lambda: load(die, num_workers=1))
    assert explanation.kind == "worker"
    assert said in str(explanation)


def test_what_cannot_be_sent_to_a_worker() -> None:
    with pytest.warns(UserWarning, match="pickle"):
        explanation = explained(
            lambda: load(lambda index: 0, num_workers=1, multiprocessing_context="spawn")
        )
    assert explanation.kind == "worker"
    assert "lambda" in explanation.cause
    assert "top of a module" in explanation.fix


class Late(nn.Module):
    """Gives itself a layer before it is set up."""

    def __init__(self) -> None:
        self.layer = nn.Linear(2, 2)


class Misspelled(nn.Module):
    """Uses a layer by another name than it has."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.outputs(x)
        return result


def test_code_of_modules() -> None:
    assert "super().__init__()" in explained(Late).fix
    misspelled = explained(lambda: Misspelled()(torch.zeros(2)))
    assert misspelled.kind == "module-code"
    assert "nearest: output" in misspelled.fix
    assert "Define forward" in explained(lambda: nn.Module()(torch.zeros(2))).fix
    assert "nn.ModuleList" in explained(lambda: torch.optim.SGD([], lr=0.1)).fix
