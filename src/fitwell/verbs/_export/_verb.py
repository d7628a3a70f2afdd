"""The verb `export`: a run's model as one file that other programs read, checked after writing.

Axes: B batch, N examples, C channels, H W height width, F columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor, nn

from ...core.errors import FitwellError, RunError, UsageError, unknown_name
from ...core.files import atomic_path
from ...data import Batches, Examples, find_builtin, where
from ...tasks import ModelChoice, open_source, smoke
from .._open_run import open_run
from ._formats import FORMATS, FileFormat, Format

if TYPE_CHECKING:
    from ...train import LossSettings, Run

_EXAMPLES = 8
"""Examples that the outputs are compared on."""


@final
@dataclass(frozen=True, kw_only=True)
class Export:
    """A file with the model of a run.

    Args:
        run: Folder of the run.
        path: The file.
        format: What kind of file.
        size: Its length in bytes.
        input: What goes in.
        output: What comes out.
        batch_sizes: Examples per call that were tried.
        compared_on: Which examples.
        largest_difference: Between the outputs of the file and of the run.
        largest_output: Largest output of the run, for scale.
        tolerance: Difference allowed, in units of the largest output.
        usage: How to use the file without fitwell.
    """

    run: str
    path: str
    format: Format
    size: int
    input: str
    output: str
    batch_sizes: tuple[int, ...]
    compared_on: str
    largest_difference: float
    largest_output: float
    tolerance: float
    usage: str

    def to_dict(self) -> dict[str, Any]:
        """Give all fields as plain data, ready for JSON."""
        return {**vars(self), "batch_sizes": list(self.batch_sizes)}

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.batch_sizes))
        return (
            f"file     {self.path} ({self.size / 1000:,.0f} kB, {self.format})\n"
            f"input    {self.input}\n"
            f"output   {self.output}\n"
            f"checked  on {self.compared_on}, batch size {sizes}: largest difference"
            f" {self.largest_difference:.2g}, largest output {self.largest_output:.3g}\n\n"
            f"{self.usage}"
        ).rstrip()


def export(
    run: str | Path | Run,
    /,
    *,
    format: Format = "safetensors",
    output: str | Path | None = None,
    batch_size: int | None = None,
    model: ModelChoice | None = None,
) -> Export:
    """Write a run's model as a file for other programs, and check that it gives the same outputs.

    Scaling is part of the model, so the file takes raw inputs: pixels divided by 255, or the
    columns of a table with NaN for missing numbers. What comes in and out, the names of classes and
    columns, and the printed form of the model are in the file's metadata.

    The file is read back and compared with the run on a few of its examples; one that differs is
    not kept.

    Args:
        run: Folder of the run.
        format: ``safetensors`` holds the weights alone, under the names of the module; ``onnx`` and
            ``torch-export`` (.pt2) hold the program too. ONNX needs the extra ``onnx``.
        output: The file; ``exported`` with the suffix of the format in the run if left out.
        batch_size: Fix the number of examples per call of the program; any number if left out.
        model: The model again, for a run of your own module.

    Raises:
        RunError: The folder is no run or has no weights, or the file gives other outputs.
        UsageError: An argument is wrong, or the model cannot be traced.
        MissingExtra: A package for ONNX is not installed.
    """
    if format not in FORMATS:
        raise unknown_name("export", "format", format, FORMATS)
    if batch_size is not None and (batch_size < 1 or format == "safetensors"):
        raise UsageError(
            f"export: `batch_size` must be at least 1, and left out for safetensors, which holds no"
            f" program; got {batch_size} for {format}. Leave it out to allow any number."
        )
    kind = FORMATS[format]
    opened = open_run(run, model=model)
    path = opened.folder / f"exported{kind.suffix}" if output is None else Path(output)
    _check_target(opened, path, kind)
    network = opened.model()
    inputs, compared_on = _inputs(opened)
    sizes = sorted({1, 3, len(inputs)}) if batch_size is None else [batch_size]
    about = _about(opened, batch_size)
    with atomic_path(path) as temporary:
        traced = _rows(inputs, batch_size or 3)  # one row would be taken for a fixed size
        with torch.no_grad():
            kind.write(network, traced, temporary, about, batch_size is None)
            difference, scale = _compare(kind, network, inputs, sizes, temporary)
        if not difference <= kind.tolerance * scale:
            raise RunError(
                f"{opened.folder}: the {format} file gives other outputs than the run, up to"
                f" {difference:.3g} apart where {kind.tolerance:g} of the largest output,"
                f" {scale:.3g}, is allowed; it was not kept. Look for state that the model changes"
                " in its forward."
            )
    shape = (batch_size or 1, *opened.schema.input_shape)
    return Export(
        run=str(opened.folder),
        path=str(path),
        format=format,
        size=path.stat().st_size,
        input=about["input"],
        output=about["output"],
        batch_sizes=tuple(sizes),
        compared_on=compared_on,
        largest_difference=difference,
        largest_output=scale,
        tolerance=kind.tolerance,
        usage=kind.usage.format(path=str(path), shape=shape),
    )


def _check_target(run: Run, path: Path, kind: FileFormat) -> None:
    if path.suffix != kind.suffix:
        raise UsageError(
            f"export: `output` must end in {kind.suffix}; got {path}. Rename it, or choose another"
            " --format."
        )
    if path.resolve() == (run.folder / "model.safetensors").resolve():
        raise UsageError(
            f"export: `output` must not be {path}, which the run itself needs. Use another name."
        )


def _rows(inputs: Tensor, count: int) -> Tensor:
    return inputs[torch.arange(count) % len(inputs)].clone()


def _compare(
    kind: FileFormat, network: nn.Module, inputs: Tensor, sizes: Sequence[int], path: Path
) -> tuple[float, float]:
    """Give the largest difference between file and run, and the largest output of the run."""
    apply = kind.read(path, network)
    differences, sizes_of_outputs = [], []
    for size in sizes:
        rows = _rows(inputs, size)
        wanted, found = network(rows.clone()), apply(rows)  # it may write into its input
        if not bool(wanted.isfinite().all()):
            raise RunError(
                "export: the run's outputs are not finite, so nothing can be compared with them."
                " Train it again with a lower rate."
            )
        if found.shape != wanted.shape:
            raise RunError(
                f"export: the file gives outputs of shape {tuple(found.shape)} where the run gives"
                f" {tuple(wanted.shape)}; it was not kept. Use --format safetensors."
            )
        differences.append((found - wanted).abs().max())
        sizes_of_outputs.append(wanted.abs().max())
    # The maximum of tensors is NaN if one of them is, and NaN is within no tolerance.
    return torch.stack(differences).max().item(), torch.stack(sizes_of_outputs).max().item()


def _inputs(run: Run) -> tuple[Tensor, str]:
    """Give a few inputs of the run, read again, or made up when its data is not here."""
    chosen = run.settings.loss
    try:
        if chosen.source != "memory" and _is_here(chosen):
            source = open_source(chosen.source, chosen.path, chosen.reader)
            splits = smoke(source.splits) if chosen.smoke else source.splits
            if splits.schema.input_shape == run.schema.input_shape:
                valid = next(iter(Batches(splits.valid, 16 * _EXAMPLES))).inputs
                return valid[_telling_rows(valid)], "examples of the part 'valid'"
    except (FitwellError, OSError):
        pass  # the data has moved or changed; the check does not need it
    made_up = next(iter(Batches(_made_up(run), _EXAMPLES))).inputs
    return made_up, "made-up examples, as the data of the run is not here"


def _is_here(chosen: LossSettings) -> bool:
    """Say whether the data can be read without a download."""
    return chosen.path is not None or where(find_builtin(chosen.source)[0]) != "to download"


def _telling_rows(inputs: Tensor) -> Tensor:
    """Take rows with missing numbers first: they go their own way through the model."""
    if not inputs.is_floating_point():
        return torch.arange(min(_EXAMPLES, len(inputs)))
    missing = inputs.flatten(1).isnan().any(1)
    few = missing.nonzero()[: _EXAMPLES // 2, 0]
    return torch.cat([few, (~missing).nonzero()[:, 0]])[:_EXAMPLES]


def _made_up(run: Run) -> Examples:
    schema, fitted = run.schema, run.manifest["scaling"].get("inputs")
    generator = torch.Generator().manual_seed(0)
    shape = (_EXAMPLES, *schema.input_shape)
    if schema.kind == "images":
        values = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    elif schema.kind == "table":
        values = torch.randn(shape, generator=generator)
        numbers = [place for place, size in enumerate(fitted["cardinalities"]) if not size]
        spread, mean = torch.tensor(fitted["std"]), torch.tensor(fitted["mean"])
        values[:, numbers] = values[:, numbers] * spread + mean
        for place, size in enumerate(fitted["cardinalities"]):
            if size:
                codes = torch.randint(0, size, (_EXAMPLES,), generator=generator)
                values[:, place] = codes.to(values.dtype)
        rows = torch.arange(_EXAMPLES)
        values[rows, rows % shape[1]] = float("nan")
    elif fitted is None:
        values = torch.zeros(shape, dtype=torch.int64)  # indices, of which 0 is always one
    else:
        values = torch.randn(shape, generator=generator)
        axes = (1, -1) + (1,) * (len(shape) - 2)
        values = values * torch.tensor(fitted["std"]).view(axes)
        values = values + torch.tensor(fitted["mean"]).view(axes)
    return Examples(inputs=values, targets=None, schema=schema)


def _about(run: Run, batch_size: int | None) -> dict[str, str]:
    """Give the metadata of the file: text by name, lists and objects as JSON."""
    from ... import __version__

    schema = run.schema
    shape = ", ".join(map(str, (batch_size or "batch", *schema.input_shape)))
    meaning = {
        "images": "pixels divided by 255",
        "table": "NaN for a missing number; for a category the place of its value in `columns`"
        " counted from 1, or 0 for missing or unseen",
        "tensor": "as in training",
    }[schema.kind]
    columns = [
        {"name": c.name, "kind": c.kind, "categories": list(c.categories)} for c in schema.columns
    ]
    size, target = batch_size or "batch", schema.target_name
    output = f"({size}); {target} in its own unit"
    if schema.target_kind == "class":
        output = f"({size}, {schema.num_classes}); a logit per class"
    return {
        "fitwell": __version__,
        "task": str(run.manifest["task"]),
        "model": _without_folder(run.settings.model.spec),
        "input": f"({shape}); {meaning}",
        "output": output,
        "class_names": json.dumps(list(schema.class_names), ensure_ascii=False),
        "columns": json.dumps(columns, ensure_ascii=False),
        "target_name": target,
    }


def _without_folder(spec: str) -> str:
    """Give ``net.py:Net(width=8)`` for ``/home/me/net.py:Net(width=8)``: files travel."""
    file, mark, call = spec.partition(".py:")
    return Path(file).name + mark + call if mark else spec
