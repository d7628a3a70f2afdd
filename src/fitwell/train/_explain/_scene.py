"""What the frames of an error show: the layer, the tensors, the line of the user's code.

Nothing is watched while code runs. All is read from the traceback afterwards: Python keeps the
local variables of every frame, and where in its line each frame failed.
"""

from __future__ import annotations

import ast
import linecache
import re
import sysconfig
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, final

import torch
from torch import Tensor, nn

from ...core.text import shorten
from ._explanation import Explanation, Kind, SeenTensor

_TORCH = Path(torch.__file__).parent
_OURS = Path(__file__).parents[2]
_PYTHON = Path(sysconfig.get_path("stdlib"))
_WORKER = re.compile(r"Caught \w+ in DataLoader worker process (\d+)\.\n")
_LAST_LINE = re.compile(r"^[\w.]+(?:Error|Exception|Warning): ", re.MULTILINE)
_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_MOST = 6
_BESIDE = ("bias", "running_mean", "running_var", "offsets")


@final
class Step:
    """One frame of a traceback.

    Args:
        link: Its traceback entry.
    """

    def __init__(self, link: TracebackType) -> None:
        self.frame: FrameType = link.tb_frame
        self.line = link.tb_lineno
        self._last = link.tb_lasti
        self.file = Path(self.frame.f_code.co_filename)
        self.values: Mapping[str, Any] = self.frame.f_locals

    @property
    def first(self) -> Any:
        """The first argument, which is `self` in a method, whatever it is called."""
        code = self.frame.f_code
        return self.values.get(code.co_varnames[0]) if code.co_argcount else None

    @property
    def readable(self) -> bool:
        """Whether its variables are those of a layer, a loss or the user."""
        return not within(self.file, _TORCH) or within(self.file, _TORCH / "nn")

    @property
    def is_users(self) -> bool:
        """Whether it is neither torch nor fitwell nor an installed package."""
        parts = self.file.parts
        if "site-packages" in parts or str(self.file).startswith("<frozen"):
            return False
        return not any(within(self.file, folder) for folder in (_TORCH, _OURS, _PYTHON))

    @cached_property
    def failed(self) -> ast.AST | None:
        """The expression or statement that failed, if its source can be read."""
        positions = next(
            islice(self.frame.f_code.co_positions(), self._last // 2, None), (None,) * 4
        )
        first, last, start, end = positions
        if first is None or last is None or start is None or end is None:
            return None
        name, known = self.frame.f_code.co_filename, self.frame.f_globals
        lines = [linecache.getline(name, n, known).encode() for n in range(first, last + 1)]
        lines[-1] = lines[-1][:end]
        lines[0] = lines[0][start:]
        text = textwrap.dedent(b"".join(lines).decode()).strip()
        try:
            return ast.parse(text) if text else None
        except (SyntaxError, ValueError):
            return None

    def value_of(self, node: ast.AST) -> Any:
        """Look up a name, or a chain of attributes, without running any code.

        Args:
            node: The name or chain.
        """
        if isinstance(node, ast.Name):
            return self.values.get(node.id, self.frame.f_globals.get(node.id))
        if not isinstance(node, ast.Attribute):
            return None
        owner = self.value_of(node.value)
        known = getattr(owner, "__dict__", {})
        if isinstance(owner, nn.Module):
            known = {**known, **owner._parameters, **owner._buffers, **owner._modules}
        return known.get(node.attr)

    def tensors(self) -> dict[str, Tensor]:
        """Give the tensors that the failing expression names.

        If it names none, give all of the frame, unless that is the user's: those may have nothing
        to do with it.
        """
        found: dict[str, Tensor] = {}
        nodes = ast.walk(self.failed) if self.failed is not None else ()
        for node in nodes:
            value = self.value_of(node)
            if isinstance(value, Tensor):
                found.setdefault(ast.unparse(node).removeprefix("self."), value)
        if found:
            return dict(sorted(found.items(), key=lambda item: _role(item[0])))
        if self.is_users and self.failed is not None:
            return {}
        return {k: v for k, v in self.values.items() if isinstance(v, Tensor)}


@final
class Scene:
    """An error and what its frames show.

    Args:
        error: The error.
        model: The model that ran, to name its layers; found in the frames if it is None.
    """

    def __init__(self, error: BaseException, model: nn.Module | None = None) -> None:
        self.error = error
        self.text = str(error)
        worker = _WORKER.match(self.text)
        self.worker = None if worker is None else int(worker[1])
        if worker is not None:  # the text holds the whole traceback of the worker
            starts = [match.start() for match in _LAST_LINE.finditer(self.text)]
            self.text = self.text[starts[-1] :].strip() if starts else self.text
        self.steps = [Step(link) for link in _links(error.__traceback__)]
        modules = [step.first for step in self.steps if is_module(step.first)]
        self.layer: nn.Module | None = modules[-1] if modules else None
        self.model = model if model is not None else next(iter(modules), None)
        self.knows_model = model is not None

    @cached_property
    def path(self) -> str | None:
        """Path of the layer in the model, empty for the model itself; None if it is not in it."""
        for name, module in () if self.model is None else self.model.named_modules():
            if module is self.layer:
                return re.sub(r"(^|\.)(?:module|_orig_mod)(?=\.|$)", "", name).lstrip(".")
        return None

    @cached_property
    def function(self) -> str:
        """Name of the innermost function of `torch.nn.functional`, or empty."""
        inside = [s for s in self.steps if s.file == _TORCH / "nn" / "functional.py"]
        names = [step.frame.f_code.co_name for step in inside]
        return next((name for name in reversed(names) if not name.startswith("_")), "")

    @property
    def in_loss(self) -> bool:
        """Whether a loss function of torch failed."""
        return re.search("loss|entropy|kl_div", self.function) is not None

    @cached_property
    def _inner(self) -> tuple[Step | None, dict[str, Tensor]]:
        """The innermost frame that has tensors, and those."""
        for step in reversed(self.steps):
            found = step.tensors() if step.readable else {}
            if found:
                return step, dict(islice(found.items(), _MOST))
            if step.is_users:
                break  # what calls that has other tensors
        return None, {}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors that took part, by the names that the failing function gives them."""
        return self._inner[1]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments of the function whose tensors these are."""
        code = None if self._inner[0] is None else self._inner[0].frame.f_code
        return () if code is None else code.co_varnames[: code.co_argcount]

    @cached_property
    def line(self) -> str:
        """The innermost line of the user's code."""
        for step in reversed(self.steps):
            if step.is_users and self.worker is None:
                return f"{step.file.name}:{step.line}"
        places = [(Path(file), line) for file, line in _PLACE.findall(str(self.error))]
        own = [(f, n) for f, n in places if "site-packages" not in f.parts]
        return f"{own[-1][0].name}:{own[-1][1]}" if own else ""

    @cached_property
    def where(self) -> str:
        """The layer and its path, or the function."""
        if self.worker is not None:
            return f"DataLoader worker {self.worker}"
        layer = "" if self.layer is None else describe(self.layer, self.path)
        if not self.function or within_torch(self.layer):
            return layer
        return self.function if self.in_loss or not layer else f"{layer}, {self.function}"

    def called(self, name: str) -> str:
        """Give what the user's code calls a tensor; its own name if that is not known.

        Args:
            name: What the failing function calls it.
        """
        tensor = self.tensors.get(name)
        for step in reversed(self.steps):
            if step.is_users and tensor is not None:
                for known, value in step.values.items():
                    if value is tensor:
                        return known
        return name

    def tell(self, kind: Kind, cause: str, fix: str) -> Explanation:
        """Make an explanation with the place of this scene.

        Args:
            kind: Kind of mistake.
            cause: What went wrong.
            fix: What to do.
        """
        return Explanation(kind=kind, cause=cause, fix=fix, where=self.where, line=self.line)

    def explain(self, kind: Kind, cause: str, fix: str, *only: str) -> Explanation:
        """Make an explanation with the place and the tensors of this scene.

        Args:
            kind: Kind of mistake.
            cause: What went wrong.
            fix: What to do.
            only: Names of the tensors to show; without any, those that are not beside the point.
        """
        shown = {k: v for k, v in self.tensors.items() if k in only}
        if not only:
            beside = _BESIDE if "weight" in self.tensors else ()
            shown = {k: v for k, v in self.tensors.items() if k not in beside}
        seen = (SeenTensor.of(name, self.called(name), value) for name, value in shown.items())
        return replace(self.tell(kind, cause, fix), tensors=tuple(seen))

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Give the shape of a tensor, or None if it was not found.

        Args:
            name: What the failing function calls it.
        """
        return tuple(self.tensors[name].shape) if name in self.tensors else None

    def users_call(self) -> tuple[Step, ast.Call] | None:
        """Give the innermost call that failed in a frame of its own, and that frame."""
        for step in reversed(self.steps):
            nodes = ast.walk(step.failed) if step.failed is not None else ()
            call = next((node for node in nodes if isinstance(node, ast.Call)), None)
            if call is not None:
                return step, call
        return None


def describe(layer: nn.Module, path: str | None) -> str:
    """Name a layer by its path and its settings, in one line.

    Args:
        layer: The layer.
        path: Its path in the model; empty for the model itself, None if it is in none.
    """
    kind = type(getattr(layer, "_orig_mod", layer)).__name__
    inner = shorten(" ".join(layer.extra_repr().split()), 48)
    text = f"{kind}({inner})" if inner or not layer._modules else kind
    return f"{path} ({text})" if path else text


def is_module(value: Any) -> bool:
    """Say whether a value is a module that has been set up."""
    return isinstance(value, nn.Module) and "_modules" in vars(value)


def within(file: Path, folder: Path) -> bool:
    """Say whether a file is in a folder."""
    return file.is_relative_to(folder)


def within_torch(layer: nn.Module | None) -> bool:
    """Say whether a layer is one of torch's own."""
    return layer is not None and type(layer).__module__.startswith("torch.nn.")


def _links(link: TracebackType | None) -> Iterator[TracebackType]:
    while link is not None:
        yield link
        link = link.tb_next


def _role(name: str) -> int:
    roles = ("input", "x", "outputs", "target", "targets", "weight", "bias")
    return roles.index(name) if name in roles else 2
