"""The files that `fitwell export` writes: how each is written, read back, and used without fitwell.

Axes: B batch.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from ...core.errors import UsageError, missing_extra

Format = Literal["safetensors", "onnx", "torch-export"]
Apply = Callable[[Tensor], Tensor]

INPUT, OUTPUT, BATCH = "inputs", "outputs", "batch"
"""Names of the input, the output and the free axis in an ONNX file."""

ABOUT = "about.json"
"""Name of the description inside a .pt2 file."""


@final
@dataclass(frozen=True, kw_only=True)
class FileFormat:
    """A kind of file.

    Args:
        suffix: How its name ends.
        tolerance: Largest difference allowed, in units of the largest output.
        write: ``write(model, example, path, about, free)``; `free` leaves the batch size open.
        read: ``read(path, model)`` gives what computes the outputs from the file alone; `model` is
            the module that weights without a program are put into, and is not changed.
        usage: Lines that use the file without fitwell; ``{path}`` and ``{shape}`` stand for values.
    """

    suffix: str
    tolerance: float
    write: Callable[[nn.Module, Tensor, Path, Mapping[str, str], bool], None]
    read: Callable[[Path, nn.Module], Apply]
    usage: str


def _write_weights(
    model: nn.Module, example: Tensor, path: Path, about: Mapping[str, str], free: bool
) -> None:
    from safetensors.torch import save_file

    # Copies, because safetensors takes no tensors that share memory.
    plain = {
        name: tensor.detach().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    save_file(plain, path, metadata=dict(about))


def _read_weights(path: Path, model: nn.Module) -> Apply:
    from safetensors.torch import load_file

    fresh = copy.deepcopy(model)
    for tensor in fresh.state_dict().values():  # so that what the file lacks cannot go unseen
        tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
    fresh.load_state_dict(load_file(path), strict=True)
    return fresh


def _write_program(
    model: nn.Module, example: Tensor, path: Path, about: Mapping[str, str], free: bool
) -> None:
    program = _traced(model, example, free)
    with path.open("wb") as file, _quiet():
        torch.export.save(program, file, extra_files={ABOUT: json.dumps(dict(about))})


def _read_program(path: Path, model: nn.Module) -> Apply:
    with path.open("rb") as file, _quiet():
        return torch.export.load(file).module()


def _write_onnx(
    model: nn.Module, example: Tensor, path: Path, about: Mapping[str, str], free: bool
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _needed(package)
    traced = _traced(model, example, free)
    with _quiet():
        program = torch.onnx.export(
            traced,
            (example,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: BATCH},) if free else None,
            verbose=False,
        )
    if program is None:
        raise UsageError("export: `format` onnx needs a torch that returns the program; update it.")
    program.model.metadata_props.update(about)
    program.save(path, external_data=False)


def _read_onnx(path: Path, model: nn.Module) -> Apply:
    runtime = _needed("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def apply(inputs: Tensor) -> Tensor:
        (outputs,) = session.run([OUTPUT], {INPUT: inputs.contiguous().numpy()})
        return torch.from_numpy(outputs)

    return apply


def _needed(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as err:
        raise missing_extra("export", package, "onnx") from err


def _traced(model: nn.Module, example: Tensor, free: bool) -> Any:
    """Trace the forward pass; the traces of source lines, which name local paths, are left out."""
    shapes = ({0: torch.export.Dim(BATCH, min=1)},) if free else None
    try:
        with _quiet():
            program = torch.export.export(model, (example,), dynamic_shapes=shapes)
    except Exception as err:
        name, lines = type(model).__name__, str(err).strip().splitlines()
        if "specialized it to be a constant" in str(err):
            raise UsageError(
                f"export: `model` must take batches of any size; {name} fixes the size while it is"
                " traced. Write x.shape[0] instead of len(x) in its forward, or fix it with"
                " batch_size=N (--batch-size)."
            ) from err
        raise UsageError(
            f"export: `model` must be traceable by torch.export; {name} is not"
            f" ({type(err).__name__}: {lines[0] if lines else ''}). Take branches on the values of"
            " tensors out of its forward, or use --format safetensors."
        ) from err
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)
    return program


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what torch's exporters say to their own developers; other warnings come through."""
    # Says that torchvision is missing, once per operator of it, at warning level.
    registry = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = registry.level
    registry.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (FutureWarning, DeprecationWarning):
                warnings.simplefilter("ignore", category)
            # Recurrent layers of torch list their weights anew while they are traced.
            warnings.filterwarnings("ignore", r"The tensor attributes? .*_flat_weights")
            yield
    finally:
        registry.setLevel(before)


FORMATS: Mapping[Format, FileFormat] = {
    "safetensors": FileFormat(
        suffix=".safetensors",
        tolerance=1e-6,  # the same numbers in the same module, so in practice 0
        write=_write_weights,
        read=_read_weights,
        usage="""\
import json
from safetensors import safe_open
from safetensors.torch import load_file

names = json.loads(safe_open({path!r}, "pt").metadata()["class_names"])
model.load_state_dict(load_file({path!r}))  # model: your module, with the same names inside
""",
    ),
    "onnx": FileFormat(
        suffix=".onnx",
        # Other kernels sum float32 in another order: about 1e-6 for a deep network.
        tolerance=1e-4,
        write=_write_onnx,
        read=_read_onnx,
        usage="""\
import json, numpy, onnxruntime

session = onnxruntime.InferenceSession({path!r})
names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
x = numpy.zeros({shape}, numpy.float32)
(outputs,) = session.run(None, {{"inputs": x}})
""",
    ),
    "torch-export": FileFormat(
        suffix=".pt2",
        # The same kernels, some of them on another layout.
        tolerance=1e-5,
        write=_write_program,
        read=_read_program,
        usage="""\
import json, torch

about = {{"about.json": ""}}
model = torch.export.load({path!r}, extra_files=about).module()
names = json.loads(json.loads(about["about.json"])["class_names"])
x = torch.zeros{shape}
outputs = model(x)
""",
    ),
}
