"""Data are split at random, differently each time the program is started."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from ..._model._file import File
from ..._model._tree import argument, has_stars
from ..._rule import Found, Rule
from ..._training._seeds import has_seed

_RESUMES = re.compile(
    r"resume|exists|is_file|isfile|checkpoint|ckpt|restart|continue", re.IGNORECASE
)


def check(file: File) -> Iterator[Found]:
    """Look for ``random_split`` without a generator where nothing is seeded.

    Args:
        file: The file.
    """
    for call in file.calls("torch.utils.data.random_split"):
        if argument(call, "generator", 2) is not None or has_stars(call):
            continue
        if has_seed(file.project):
            return
        resumes = any(_resumes(one) for one in file.project.files)
        yield Found(
            call,
            "The parts differ in each start: after a restart from the checkpoint, training examples"
            " are in the held-out part."
            if resumes
            else "The parts differ each time the program is started, and nothing is seeded.",
            "Give `generator=torch.Generator().manual_seed(0)`.",
            certain=resumes,
        )


def _resumes(file: File) -> bool:
    """Say whether a training goes on from a file, as far as conditions tell."""
    trains = bool(file.steps)
    saves = any(any(one.calls("torch.save")) for one in file.project.files)
    if not (saves and trains):
        return False
    for call in file.calls("torch.load"):
        for above in file.tree.above(call):
            if isinstance(above, ast.If) and _RESUMES.search(ast.unparse(above.test)):
                return True
    return False


RULE = Rule(
    name="split-without-generator",
    severity="warning",
    title="random_split without a generator, in a program that goes on from checkpoints",
    why=(
        "Without a seed `random_split` draws other parts in each start. A training that goes on"
        " from a checkpoint then measures on examples that it was trained on before: the score"
        " jumps after the restart and is too good from then on. A model that is loaded for a test"
        " later has the same fault."
    ),
    fix="Give `random_split` a generator with a fixed seed, or save the indices.",
    bad="""\
import os

import torch
from torch.utils.data import DataLoader, random_split

def train(model, optimizer, loss_fn, data, path):
    training, held_out = random_split(data, [0.9, 0.1])
    if os.path.exists(path):
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    model.train()
    loader = DataLoader(training, batch_size=32, shuffle=True)
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), path)
    return held_out
""",
    good="""\
import os

import torch
from torch.utils.data import DataLoader, random_split

def train(model, optimizer, loss_fn, data, path):
    same = torch.Generator().manual_seed(0)
    training, held_out = random_split(data, [0.9, 0.1], generator=same)
    if os.path.exists(path):
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    model.train()
    loader = DataLoader(training, batch_size=32, shuffle=True)
    for x, y in loader:
        optimizer.zero_grad()
        loss = loss_fn(model(x), y)
        loss.backward()
        optimizer.step()
    torch.save(model.state_dict(), path)
    return held_out
""",
    source="PyTorch docs, `torch.utils.data.random_split` and reproducibility.",
    check=check,
)
