"""The watch as a callback of libraries; each test needs its library."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from fitwell.core.errors import UsageError
from fitwell.doctor import Watch, keras_callback, lightning_callback, transformers_callback

from .watched import CLASSES, data, network


def library(name: str) -> Any:
    """Import a library, whose own warnings at that are not ours, or skip the test."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name} is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def loader(batch_size: int = 8) -> Any:
    return DataLoader(TensorDataset(*data()), batch_size=batch_size)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning(accumulate: int, tmp_path: Path) -> None:
    lightning = library("lightning.pytorch")

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def training_step(self, batch: Any, index: int) -> Tensor:
            return F.cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, index: int) -> None:
            F.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    results = []
    for watched in (False, True):
        torch.manual_seed(0)
        callback = lightning_callback(Watch(every=2))
        trainer = lightning.Trainer(
            max_epochs=2,
            accumulate_grad_batches=accumulate,
            gradient_clip_val=0.1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            accelerator="cpu",
            callbacks=[callback] if watched else [],
        )
        module = Module()
        trainer.fit(module, loader(), loader())
        results.append([*module.state_dict().values(), torch.get_rng_state()])
    assert all(map(torch.equal, *results))
    record, summary = callback.watch.record(), callback.watch.summary()
    assert summary["steps"] == 16 // accumulate
    assert summary["clipped"] == 1.0
    assert summary["carried"] == 0
    assert summary["eval_mode"] == {}
    assert record["looks"]["passes"] == [float(accumulate)] * len(record["looks"]["step"])
    assert list(record["modules"])[:2] == ["net.0", "net.1"]
    assert record["inputs"]["examples"][0] == 8
    assert sum(record["targets"]["counts"]) == 8 * len(record["looks"]["step"])
    assert callback.watch.notes == []


@pytest.mark.filterwarnings("ignore")
def test_transformers(tmp_path: Path) -> None:
    transformers = library("transformers")

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            logits = self.net(x)
            return {"loss": F.cross_entropy(logits, labels), "logits": logits}

    x, y = data()
    rows = [{"x": one, "labels": label} for one, label in zip(x, y, strict=True)]
    results = []
    for watched in (False, True):
        callback = transformers_callback(Watch(every=2))
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=8,
            num_train_epochs=2,
            learning_rate=0.01,
            logging_steps=4,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            max_grad_norm=0.1,
        )
        torch.manual_seed(0)
        model = Net()
        trainer = transformers.Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            callbacks=[callback] if watched else [],
        )
        trainer.train()
        results.append(list(model.state_dict().values()))
    assert all(map(torch.equal, *results))
    record, summary = callback.watch.record(), callback.watch.summary()
    assert summary["steps"] == 16
    assert summary["clipped"] == 1.0
    assert summary["carried"] == 0
    assert len(record["loss"]["loss"]) == 16  # told every fourth step
    assert sum(record["targets"]["counts"]) == 8 * len(record["looks"]["step"])
    assert list(record["modules"])[:2] == ["net.0", "net.1"]
    assert summary["last_lr"] < summary["first_lr"]
    assert callback.watch.notes == []


@pytest.mark.filterwarnings("ignore")
def test_keras(monkeypatch: pytest.MonkeyPatch) -> None:
    if "keras" not in sys.modules:
        monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = library("keras")
    if keras.backend.backend() != "torch":
        pytest.skip(f"keras runs on {os.environ.get('KERAS_BACKEND')}")
    x, y = data()
    results = []
    for watched in (False, True):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(CLASSES)]
        model = keras.Sequential([keras.Input((x.shape[1],)), *layers])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss=loss)
        callback = keras_callback(Watch(every=2))
        callbacks = [callback] if watched else []
        model.fit(x.numpy(), y.numpy(), batch_size=8, epochs=2, verbose=0, callbacks=callbacks)
        results.append([torch.as_tensor(weight) for weight in model.get_weights()])
    assert all(map(torch.equal, *results))
    record, summary = callback.watch.record(), callback.watch.summary()
    assert summary["steps"] == 16
    assert summary["gradient_norm"] > 0
    assert summary["update_ratio"] > 0
    assert summary["carried"] == 0
    assert summary["without_step"] is None
    assert summary["first_lr"] == pytest.approx(0.1)
    assert summary["not_in_optimizer"] is None
    assert len(record["loss"]["loss"]) == 16


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, name: str) -> None:
    monkeypatch.setitem(sys.modules, module, SimpleNamespace(**{name: object}))


def test_lightning_tells_parts_of_a_step_which_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are divided by their number already."""
    stand_in(monkeypatch, "lightning.pytorch", "Callback")
    model = network()
    scaler = torch.amp.GradScaler("cpu")
    trainer = SimpleNamespace(
        optimizers=[torch.optim.SGD(model.parameters(), lr=0.1)],
        global_step=7,
        precision_plugin=SimpleNamespace(scaler=scaler),
    )
    callback = lightning_callback()
    callback.on_train_start(trainer, model)
    assert callback.watch._scaler is scaler
    for step, losses in enumerate(([1.0, 2.0], [4.0, 8.0])):
        for number, loss in enumerate(losses):
            trainer.global_step = 7 + step + number
            callback.on_train_batch_end(trainer, model, {"loss": torch.tensor(loss)}, None, number)
    callback.on_train_end(trainer, model)
    record = callback.watch.record()
    assert record["steps"] == 2
    assert record["loss"]["loss"] == [3.0, 12.0]


def test_a_transformers_training_that_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, "transformers", "TrainerCallback")
    model = network()
    given = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
    callback = transformers_callback()
    state = SimpleNamespace(global_step=500)
    callback.on_train_begin(None, state, None, **given)
    for _ in range(4):
        state.global_step += 1
        callback.on_step_end(None, state, None)
        if state.global_step % 2 == 0:
            callback.on_log(None, state, None, {"loss": float(state.global_step)})
    callback.on_train_end(None, state, None)
    record = callback.watch.record()
    assert record["steps"] == 4
    assert record["loss"]["step"] == [1, 2, 3, 4]
    assert record["loss"]["loss"] == [502.0, 502.0, 504.0, 504.0]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lightning_callback, "lightning"),
        (transformers_callback, "transformers"),
        (keras_callback, "keras"),
    ],
)
def test_a_missing_library_is_told(make: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("lightning", "lightning.pytorch", "pytorch_lightning", "transformers", "keras"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f"`{name}` must be installed; it is not"):
        make()


def test_keras_on_something_else_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(
        callbacks=SimpleNamespace(Callback=object),
        backend=SimpleNamespace(backend=lambda: "jax"),
    )
    monkeypatch.setitem(sys.modules, "keras", fake)
    with pytest.raises(UsageError, match="`keras` must run on torch; got 'jax'"):
        keras_callback()
