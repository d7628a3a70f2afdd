"""Ways to train the same model on the same examples in memory, each as its documentation advises.

A contestant is a function of a `Problem` that trains a fresh copy of the model and gives the
`Outcome`: the seconds of the training alone, without building model, optimizer or trainer, and the
accuracy on the training set, which shows that it did the work. The optimizer is Adam with one rate
everywhere; where a framework lets the user choose, it gets torch's fused one, the fastest here. The
exceptions are those whose point is what most people write: `hand` and `dataloader`.

    *_bulk: the loader fetches whole batches (``sampler=BatchSampler(...), batch_size=None``)
"""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler, TensorDataset

from fitwell import losses, optim
from fitwell.data import Batches, Examples, Schema
from fitwell.train import Supervised, Trainer

Kind = Literal["mlp", "cnn"]


@final
@dataclass(frozen=True, kw_only=True)
class Problem:
    """What all contestants have in common.

    Args:
        kind: Of the model.
        inputs: Floats in [0, 1]; (N, 64) for the MLP, (N, 1, 8, 8) for the CNN.
        targets: Class indices; (N,).
        model: With its first weights; contestants copy it.
        batch_size: Examples per step.
        epochs: Passes over the examples.
        lr: Rate of Adam.
        clock: Gives seconds.
        seed: Of the order.
    """

    kind: Kind
    inputs: Tensor
    targets: Tensor
    model: nn.Module
    batch_size: int
    epochs: int
    lr: float
    clock: Callable[[], float]
    seed: int = 0


@final
@dataclass(frozen=True)
class Outcome:
    """What one training gave.

    Args:
        seconds: It took.
        accuracy: On the training set.
        losses: Of every step, where the contestant keeps them at no cost.
    """

    seconds: float
    accuracy: float
    losses: tuple[float, ...] = ()


Contestant = Callable[[Problem], Outcome]


def digits(kind: Kind) -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    pixels = torch.tensor(inputs / 16, dtype=torch.float32)
    return (pixels if kind == "mlp" else pixels.view(-1, 1, 8, 8)), torch.tensor(targets)


def make_model(kind: Kind) -> nn.Module:
    torch.manual_seed(0)
    if kind == "mlp":
        return nn.Sequential(
            nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)
        )
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def accuracy(model: nn.Module, problem: Problem) -> float:
    model.eval()
    with torch.no_grad():
        return (model(problem.inputs).argmax(1) == problem.targets).double().mean().item()


def fused_adam(model: nn.Module, problem: Problem) -> torch.optim.Adam:
    return torch.optim.Adam(model.parameters(), lr=problem.lr, fused=True)


def orders(problem: Problem) -> Iterator[Tensor]:
    """Give a fresh permutation per epoch."""
    generator = torch.Generator().manual_seed(problem.seed)
    for _ in range(problem.epochs):
        yield torch.randperm(len(problem.inputs), generator=generator)


def examples(problem: Problem) -> Examples:
    schema = Schema(
        kind="tensor",
        input_shape=tuple(problem.inputs.shape[1:]),
        target_kind="class",
        class_names=tuple("0123456789"),
    )
    return Examples(inputs=problem.inputs, targets=problem.targets, schema=schema)


def fitwell(problem: Problem) -> Outcome:
    model = copy.deepcopy(problem.model)
    batches = Batches(examples(problem), problem.batch_size, shuffle=True, seed=problem.seed)
    optimizer = optim.Adam(model.parameters(), lr=problem.lr)
    trainer = Trainer(model, Supervised(losses.CrossEntropy()), optimizer)
    start = problem.clock()
    history = trainer.fit(batches, epochs=problem.epochs)
    seconds = problem.clock() - start
    return Outcome(seconds, accuracy(model, problem), tuple(history.losses))


def orders_of_fitwell(problem: Problem) -> list[Tensor]:
    """Give the permutations that `fitwell` above trains in, so that a loop can follow them."""
    count = len(problem.inputs)
    schema = Schema(kind="tensor", input_shape=(1,), target_kind="number")
    numbered = Examples(inputs=torch.arange(count).view(-1, 1), targets=None, schema=schema)
    batches = Batches(numbered, problem.batch_size, shuffle=True, seed=problem.seed)
    return [torch.cat([inputs.view(-1) for inputs, _ in batches]) for _ in range(problem.epochs)]


def hand(problem: Problem) -> Outcome:
    """Do what a careful beginner writes: index the tensors per batch, torch's default Adam."""
    model = copy.deepcopy(problem.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=problem.lr)
    inputs, targets, size = problem.inputs, problem.targets, problem.batch_size
    start = problem.clock()
    model.train()
    for order in orders(problem):
        for first in range(0, len(inputs), size):
            rows = order[first : first + size]
            loss = F.cross_entropy(model(inputs[rows]), targets[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return Outcome(problem.clock() - start, accuracy(model, problem))


def hand_best(problem: Problem, given: list[Tensor] | None = None) -> Outcome:
    """Do what an expert writes: permute once per epoch, slice, fused Adam.

    Args:
        problem: To train on.
        given: Permutations to follow; keeps the losses. None draws some, as is timed.
    """
    model = copy.deepcopy(problem.model)
    optimizer = fused_adam(model, problem)
    size, kept = problem.batch_size, []
    start = problem.clock()
    model.train()
    for order in orders(problem) if given is None else given:
        inputs, targets = problem.inputs[order], problem.targets[order]
        for first in range(0, len(inputs), size):
            output = model(inputs[first : first + size])
            loss = F.cross_entropy(output, targets[first : first + size])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if given is not None:
                kept.append(loss.item())
    return Outcome(problem.clock() - start, accuracy(model, problem), tuple(kept))


def loader(problem: Problem, *, bulk: bool = False) -> DataLoader[Any]:
    data = TensorDataset(problem.inputs, problem.targets)
    generator = torch.Generator().manual_seed(problem.seed)
    if not bulk:
        return DataLoader(data, problem.batch_size, shuffle=True, generator=generator)
    sampler = RandomSampler(data, generator=generator)
    batches = BatchSampler(sampler, problem.batch_size, drop_last=False)
    return DataLoader(data, sampler=batches, batch_size=None)


def dataloader(problem: Problem, *, bulk: bool = False) -> Outcome:
    model = copy.deepcopy(problem.model)
    rate = problem.lr
    optimizer = (
        fused_adam(model, problem) if bulk else torch.optim.Adam(model.parameters(), lr=rate)
    )
    batches = loader(problem, bulk=bulk)
    start = problem.clock()
    model.train()
    for _ in range(problem.epochs):
        for inputs, targets in batches:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return Outcome(problem.clock() - start, accuracy(model, problem))


def dataloader_bulk(problem: Problem) -> Outcome:
    return dataloader(problem, bulk=True)


def lightning(problem: Problem, *, bulk: bool = False) -> Outcome:
    import logging

    from lightning import LightningModule
    from lightning import Trainer as LightningTrainer

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = copy.deepcopy(problem.model)

        def training_step(self, batch: Any, index: int) -> Tensor:
            inputs, targets = batch
            return F.cross_entropy(self.model(inputs), targets)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return fused_adam(self, problem)

    module = Module()
    trainer = LightningTrainer(
        max_epochs=problem.epochs,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = loader(problem, bulk=bulk)
    start = problem.clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice to use more workers, wrong for data in memory
        trainer.fit(module, batches)
    return Outcome(problem.clock() - start, accuracy(module.model, problem))


def lightning_bulk(problem: Problem) -> Outcome:
    return lightning(problem, bulk=True)


def fabric(problem: Problem) -> Outcome:
    from lightning.fabric import Fabric

    runner = Fabric(accelerator="cpu", devices=1)
    plain = copy.deepcopy(problem.model)
    model, optimizer = runner.setup(plain, fused_adam(plain, problem))
    batches = runner.setup_dataloaders(loader(problem))
    start = problem.clock()
    model.train()
    for _ in range(problem.epochs):
        for inputs, targets in batches:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            runner.backward(loss)
            optimizer.step()
    return Outcome(problem.clock() - start, accuracy(plain, problem))


def accelerate(problem: Problem) -> Outcome:
    from accelerate import Accelerator

    runner = Accelerator(cpu=True)
    plain = copy.deepcopy(problem.model)
    model, optimizer, batches = runner.prepare(plain, fused_adam(plain, problem), loader(problem))
    start = problem.clock()
    model.train()
    for _ in range(problem.epochs):
        for inputs, targets in batches:
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            runner.backward(loss)
            optimizer.step()
    return Outcome(problem.clock() - start, accuracy(plain, problem))


def skorch(problem: Problem) -> Outcome:
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(
        copy.deepcopy(problem.model),
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        optimizer__fused=True,
        lr=problem.lr,
        batch_size=problem.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )
    net.initialize()
    start = problem.clock()
    net.partial_fit(problem.inputs, problem.targets, epochs=problem.epochs)
    return Outcome(problem.clock() - start, accuracy(net.module_, problem))


class Rows(Dataset[dict[str, Tensor]]):
    """Examples as the Transformers trainer wants them, one dict each."""

    def __init__(self, problem: Problem) -> None:
        self.inputs, self.targets = problem.inputs, problem.targets

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"inputs": self.inputs[index], "labels": self.targets[index]}


class WithLoss(nn.Module):
    """A model that gives its own loss, as the Transformers trainer wants it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Give loss and logits."""
        logits = self.model(inputs)
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def transformers(problem: Problem) -> Outcome:
    from transformers import PrinterCallback, TrainingArguments
    from transformers import Trainer as TransformersTrainer

    model = copy.deepcopy(problem.model)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=problem.batch_size,
            num_train_epochs=problem.epochs,
            learning_rate=problem.lr,
            lr_scheduler_type="constant",
            optim="adamw_torch_fused",
            weight_decay=0.0,
            max_grad_norm=0.0,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
            seed=problem.seed,
            remove_unused_columns=False,
        )
        trainer = TransformersTrainer(WithLoss(model), settings, train_dataset=Rows(problem))
        trainer.remove_callback(PrinterCallback)
        start = problem.clock()
        trainer.train()
        seconds = problem.clock() - start
    return Outcome(seconds, accuracy(model, problem))


def _keras_model(problem: Problem) -> Any:
    """Build the model in Keras and give it the same first weights."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.config.set_image_data_format("channels_first")  # as torch computes
    layers: list[Any] = [keras.Input(tuple(problem.inputs.shape[1:]))]
    weights: list[np.ndarray] = []
    for part in problem.model:  # type: ignore[union-attr]
        if isinstance(part, nn.Linear):
            layers.append(keras.layers.Dense(part.out_features))
            weights += [part.weight.detach().numpy().T, part.bias.detach().numpy()]
        elif isinstance(part, nn.Conv2d):
            layers.append(keras.layers.Conv2D(part.out_channels, 3, padding="same"))
            kernel = part.weight.detach().permute(2, 3, 1, 0)
            weights += [kernel.numpy(), part.bias.detach().numpy()]  # type: ignore[union-attr]
        elif isinstance(part, nn.ReLU):
            layers.append(keras.layers.ReLU())
        elif isinstance(part, nn.MaxPool2d):
            layers.append(keras.layers.MaxPooling2D(2))
        else:
            layers.append(keras.layers.Reshape((-1,)))
    model = keras.Sequential(layers)
    model.set_weights(weights)
    model.compile(
        optimizer=keras.optimizers.Adam(problem.lr),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


def keras(problem: Problem) -> Outcome:
    model = _keras_model(problem)
    inputs, targets = problem.inputs.numpy(), problem.targets.numpy()
    start = problem.clock()
    model.fit(inputs, targets, batch_size=problem.batch_size, epochs=problem.epochs, verbose=0)
    seconds = problem.clock() - start
    found = model.predict(inputs, batch_size=len(inputs), verbose=0).argmax(1)
    return Outcome(seconds, float((found == targets).mean()))


def sklearn(problem: Problem) -> Outcome:
    """Train scikit-learn's MLP: no torch, its own first weights and its own backward pass."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(
        hidden_layer_sizes=(256, 128),
        alpha=0.0,
        batch_size=problem.batch_size,
        learning_rate_init=problem.lr,
        max_iter=problem.epochs,
        tol=0.0,
        n_iter_no_change=problem.epochs + 1,  # never stops early
        random_state=problem.seed,
    )
    inputs, targets = problem.inputs.numpy(), problem.targets.numpy()
    start = problem.clock()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the epochs are used up, as wanted
        net.fit(inputs, targets)
    seconds = problem.clock() - start
    return Outcome(seconds, float(net.score(inputs, targets)))


ALL: Mapping[str, Contestant] = {
    "fitwell": fitwell,
    "hand": hand,
    "hand_best": hand_best,
    "dataloader": dataloader,
    "dataloader_bulk": dataloader_bulk,
    "lightning": lightning,
    "lightning_bulk": lightning_bulk,
    "fabric": fabric,
    "accelerate": accelerate,
    "skorch": skorch,
    "keras": keras,
    "transformers": transformers,
    "sklearn": sklearn,
}


def names(kind: Kind) -> list[str]:
    """Give the contestants for a kind of model; scikit-learn has no convolutions."""
    return [name for name in ALL if kind == "mlp" or name != "sklearn"]
