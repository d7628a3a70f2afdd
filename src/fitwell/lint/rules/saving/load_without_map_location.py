"""A checkpoint is loaded without saying onto which device."""

from __future__ import annotations

from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, constant, has_stars
from ..._rule import Found, Rule


def check(file: File) -> Iterator[Found]:
    """Look for ``torch.load`` without ``map_location`` in a program that also runs on the CPU.

    Args:
        file: The file.
    """
    loads = [
        call
        for call in file.calls("torch.load")
        if argument(call, "map_location", 1) is None and not has_stars(call)
    ]
    if not loads or not _handles_cpu(file):
        return
    for call in loads:
        yield Found(
            call,
            "Tensors go back to the device that they were saved from: on a machine without it this"
            " raises.",
            'Add `map_location="cpu"`, or the device in use.',
        )


def _handles_cpu(file: File) -> bool:
    if any(file.calls("torch.cuda.is_available", "torch.accelerator.is_available")):
        return True
    return any(
        constant(argument(call, "device", 0)) == "cpu" for call in file.calls("torch.device")
    )


RULE = Rule(
    name="load-without-map-location",
    severity="hint",
    title="torch.load without map_location",
    why=(
        "A tensor is loaded onto the device that it was saved from. A checkpoint of a GPU cannot be"
        " loaded where there is none, and with several processes all of them load onto the first"
        " GPU."
    ),
    fix='Load with `map_location="cpu"` or `map_location=device`.',
    bad="""\
import torch

def load(model, path):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.to(device)
""",
    good="""\
import torch

def load(model, path):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.load_state_dict(torch.load(path, map_location=device, weights_only=True))
    return model.to(device)
""",
    source="PyTorch docs, `torch.load`; saving and loading models across devices.",
    check=check,
)
