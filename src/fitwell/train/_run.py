"""The run: a folder that holds one training, complete enough to resume, repeat, move and use."""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import RunError, UsageError
from ..core.files import atomic_path, finite, write_json
from ..core.groups import is_group, read_group, remedy
from ..data import Batches, Examples, Schema, Splits
from ._checkpoints import Checkpoints, Retention, load_into, load_weights, save_weights
from ._objective import outputs_of
from ._settings import Settings
from ._task import Predictions, Task

FORMAT = 1


@final
class Run:
    """A folder with ``run.json``, ``metrics.jsonl``, ``checkpoints/``, ``result.json`` and more.

    Everything in it is written whole or not at all, and nothing that is read from it can execute
    code.

    Args:
        folder: The folder.
        manifest: Content of ``run.json``.
    """

    def __init__(self, folder: str | Path, manifest: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.manifest = dict(manifest)
        self.task: Task | None = None
        self.own_model: Any = None

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, status={self.status!r})"

    @classmethod
    def create(cls, folder: str | Path, manifest: Mapping[str, Any]) -> Run:
        """Start a run in a folder that is new or empty.

        Args:
            folder: The folder.
            manifest: What ``run.json`` shall hold.

        Raises:
            RunError: The folder holds something already.
        """
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(
                f"{folder}: must be new or empty for a new run. Go on with it by"
                f" 'fitwell resume {folder}', or choose another folder with --run."
            )
        run = cls(folder, {"format": FORMAT, "status": "new", **manifest})
        run.update()
        return run

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """Open a run that exists.

        Args:
            folder: The folder.

        Raises:
            RunError: It is not a run, is damaged, or comes from a newer fitwell.
        """
        path = Path(folder) / "run.json"
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as err:
            if is_group(folder):
                raise RunError(
                    f"{folder}: is a group of kind {read_group(folder)['kind']}, and this takes a"
                    f" single run. Name one of {folder}/members."
                ) from err
            raise RunError(
                f"{folder}: is not a run; it has no run.json. List runs with 'fitwell list'."
            ) from err
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as err:
            raise RunError(f"{path}: cannot be read ({err}). Restore it from a copy.") from err
        if not isinstance(manifest, dict) or "settings" not in manifest:
            raise RunError(f"{path}: is not the run.json of a fitwell run.")
        if manifest.get("format") != FORMAT:
            raise RunError(
                f"{path}: `format` must be {FORMAT}; got {manifest.get('format')!r}."
                " Use the version of fitwell that made the run."
            )
        return cls(folder, manifest)

    def update(self, **changes: Any) -> None:
        """Change entries of ``run.json``.

        Args:
            changes: The new entries.
        """
        self.manifest.update(changes)
        write_json(self.folder / "run.json", self.manifest)

    @property
    def status(self) -> str:
        """``new``, ``running``, ``stopped``, ``failed`` or ``finished``."""
        return str(self.manifest["status"])

    @property
    def settings(self) -> Settings:
        """What decides what the run does."""
        return Settings.from_dict(self.manifest["settings"])

    @property
    def result(self) -> dict[str, Any]:
        """The final numbers; empty before training has ended."""
        return self.read_json("result.json") or {}

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Read a JSON file of the run, or give None if it is not there.

        Args:
            name: Name of the file.
        """
        try:
            value: dict[str, Any] = json.loads((self.folder / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except json.JSONDecodeError as err:
            raise RunError(f"{self.folder / name}: is damaged ({err}).") from err
        return value

    def checkpoints(self, retention: Retention | None = None) -> Checkpoints:
        """Give the checkpoints.

        Args:
            retention: Which of them stay, for a writer.
        """
        return Checkpoints(self.folder / "checkpoints", retention)

    def save_split(self, splits: Splits) -> None:
        """Write which rows of the source each part holds to ``split.npz``.

        Args:
            splits: The parts.
        """
        rows = {part: np.asarray(places) for part, places in splits.indices.items()}
        with atomic_path(self.folder / "split.npz") as path, path.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **rows)

    def save_model(self, weights: Mapping[str, Any]) -> None:
        """Write the weights that the run is used with.

        Args:
            weights: Tensors by name.
        """
        with atomic_path(self.folder / "model.safetensors") as path:
            save_weights(path, weights)

    def load_model(self) -> dict[str, Any]:
        """Read the weights that the run is used with: the final ones, or the best so far.

        Raises:
            RunError: There are none yet.
        """
        path = self.folder / "model.safetensors"
        if path.exists():
            return load_weights(path)
        if self.checkpoints().newest() is None:
            raise RunError(
                f"{self.folder}: holds no weights yet. Go on with: {remedy(self.folder)}"
            )
        state = self.checkpoints().load()
        if state["best"] is not None:
            return dict(state["best"])
        return dict(state["model"])

    @property
    def schema(self) -> Schema:
        """What the data is."""
        return Schema.from_dict(self.manifest["schema"])

    def model(self) -> nn.Module:
        """Build the model and load its weights, in evaluation mode.

        Raises:
            RunError: There are no weights yet, or they do not fit.
            UsageError: The model is the user's own and was not given.
        """
        settings = self.settings.model
        if settings.own and self.own_model is None:
            raise UsageError(
                f"{self.folder}: was trained with a model of your own ({settings.spec}), whose code"
                " is not kept in the run. Give it again with `model` (--model)."
            )
        choice = self.own_model if settings.own else settings.spec
        model = self.known_task.build_model(choice, self.schema, self.manifest["scaling"])
        load_into(model, self.load_model(), self.folder / "model.safetensors")
        return model.eval()

    @property
    def known_task(self) -> Task:
        """The task, which `fitwell.open_run` looks up."""
        if self.task is None:
            raise UsageError("Run: open it with fitwell.open_run(folder) to use its model.")
        return self.task

    def predict(self, inputs: Any, *, batch_size: int = 256) -> Predictions:
        """Answer for new inputs.

        Args:
            inputs: `Examples`, a tensor or an array shaped like the training inputs with the
                examples first, or the path of a folder or file of the same kind.
            batch_size: Examples per forward pass.

        Raises:
            RunError: There are no weights yet.
            DataError: A file is bad.
            UsageError: The shape is not that of the training inputs.
        """
        examples = self.read(inputs)
        outputs = outputs_of(self.model(), Batches(examples, batch_size))
        return self.known_task.describe(outputs, self.schema)

    def read(self, inputs: Any) -> Examples:
        """Turn inputs into examples of the run's kind.

        Args:
            inputs: As for `predict`.

        Raises:
            DataError: A file is bad.
            UsageError: The shape is not that of the training inputs.
        """
        if isinstance(inputs, Examples):
            if inputs.schema.input_shape != self.schema.input_shape:
                raise UsageError(
                    f"Run: `inputs` must have shape (N, {_sizes(self.schema.input_shape)}), as in"
                    f" training; got {tuple(inputs.inputs.shape)}. Give data of the same kind."
                )
            return inputs
        if isinstance(inputs, (str, Path)):
            return self.known_task.read(inputs, self.schema)
        tensor = inputs if isinstance(inputs, Tensor) else torch.as_tensor(inputs)
        if tensor.dtype not in (torch.uint8, torch.float32):
            tensor = tensor.to(torch.float32)
        return Examples(inputs=tensor, targets=None, schema=self.schema)

    def to_dict(self) -> dict[str, Any]:
        """Give the final numbers, or the status while there are none."""
        return self.result or {"run": str(self.folder), "status": self.status}

    def __str__(self) -> str:
        result = self.result
        if not result:
            return f"run      {self.folder} ({self.status})"
        lines = [
            f"run      {self.folder} ({self.status})",
            f"model    {result['model']}, {result['parameters']:,} parameters",
            f"trained  {result['epochs']} epochs{_best(result)}, {result['steps']:,} steps,"
            f" {result['seconds']:.1f} s, {result['examples_per_second']:,.0f} examples/s",
        ]
        for part in ("train", "valid", "test"):
            if result.get(part):
                numbers = [f"{k} {v:.4g}" for k, v in result[part].items() if v is not None]
                lines.append(f"{part:<8} {'  '.join(numbers)}")
        if result.get("skipped"):
            lines.append(f"skipped  {result['skipped']:,} bad rows, listed in run.json")
        if (self.folder / "report.html").exists():
            lines.append(f"report   {self.folder / 'report.html'}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Give what `str` says as a table, for notebooks."""
        cells = (line.partition(" ") for line in str(self).splitlines())
        rows = "".join(
            f'<tr><th style="text-align: left">{html.escape(name)}</th>'
            f'<td style="text-align: left">{html.escape(words.strip())}</td></tr>'
            for name, _, words in cells
        )
        return f"<table>{rows}</table>"

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``.

        Args:
            record: The line, as an object.
        """
        line = json.dumps(finite(record)) + "\n"
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line)

    def metrics(self) -> list[dict[str, Any]]:
        """Give the whole lines of ``metrics.jsonl``; a torn last line is left out."""
        try:
            text = (self.folder / "metrics.jsonl").read_text(encoding="utf-8")
        except FileNotFoundError:
            return []
        records = []
        for line in text.splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def rewind(self, step: int) -> None:
        """Forget the metrics after a step, before training goes on from it.

        Args:
            step: The step of the checkpoint.
        """
        kept = [record for record in self.metrics() if record["step"] <= step]
        with atomic_path(self.folder / "metrics.jsonl") as path:
            lines = "".join(json.dumps(record) + "\n" for record in kept)
            path.write_text(lines, encoding="utf-8")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training this run at the same time.

        Raises:
            RunError: One is doing so.
        """
        with (self.folder / ".lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as err:
                file.seek(0)
                owner = file.read().strip() or "another process"
                raise RunError(
                    f"{self.folder}: is being trained by process {owner}. Wait, or stop it."
                ) from err
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def _best(result: Mapping[str, Any]) -> str:
    best = result.get("best_epoch")
    return f" (best: {best})" if best and best != result["epochs"] else ""


def _sizes(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
