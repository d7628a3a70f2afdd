"""What is done to the examples of a data set: the parts of its transform, and which are random."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast, final

from .._model._bindings import given, parameters
from .._model._once import once
from .._model._project import Definition
from .._model._roles import Role, role
from .._model._tree import argument, constant, has_stars, key
from ._loaders import role_of_target
from ._sources import Source, changed_later, sources

if TYPE_CHECKING:
    from .._model._file import File

_TORCHVISION: Final = "torchvision.transforms."
_ALBUMENTATIONS: Final = "albumentations."
_RANDOM: Final = frozenset(
    {
        "ColorJitter", "RandAugment", "AutoAugment", "TrivialAugmentWide", "AugMix", "MixUp",
        "CutMix", "ElasticTransform", "ScaleJitter", "JPEG",
    }
)  # fmt: skip
_RANDOM_ALBUMENTATIONS: Final = frozenset(
    {
        "HorizontalFlip", "VerticalFlip", "Flip", "ShiftScaleRotate", "Rotate", "Affine",
        "Transpose", "HueSaturationValue", "ColorJitter", "CoarseDropout", "GaussNoise",
        "GridDistortion", "OneOf", "OpticalDistortion", "ElasticTransform", "Perspective",
        "MotionBlur", "SomeOf", "Cutout", "Blur", "GaussianBlur", "CLAHE", "RGBShift",
        "ChannelShuffle", "ISONoise", "D4", "SafeRotate",
    }
)  # fmt: skip
_BY_CHANCE_ONLY: Final = (
    "Flip", "Grayscale", "Invert", "Equalize", "Autocontrast", "CLAHE", "Transpose",
)  # fmt: skip
"""Endings of transforms that are not random with ``p=1``."""
_PLACES: Final = {
    "ImageFolder": 1, "DatasetFolder": 3, "MNIST": 2, "FashionMNIST": 2, "KMNIST": 2, "CIFAR10": 2,
    "CIFAR100": 2, "SVHN": 2, "STL10": 2, "USPS": 2, "QMNIST": 2,
}  # fmt: skip
"""Where `transform` stands among the arguments; of most others it is given by name."""
_NAMES: Final = ("transform", "transforms", "tfm", "tfms", "augment", "augmentation", "preprocess")


@final
@dataclass
class Parts:
    """The steps of a transform.

    Args:
        calls: That make them, with their files.
        complete: Whether there are surely no others.
    """

    calls: list[tuple[File, ast.Call]] = field(default_factory=list)
    complete: bool = True

    @property
    def random(self) -> list[str]:
        """Names of the steps that surely draw random numbers."""
        return [_short(file, call) for file, call in self.calls if _is_random(file, call)]

    @property
    def normalize(self) -> tuple[File, ast.Call] | None:
        """The step that subtracts a mean, if there is just one."""
        found = [one for one in self.calls if _short(*one) == "Normalize"]
        return found[0] if len(found) == 1 else None

    def add(self, file: File, node: ast.expr, depth: int = 0) -> None:
        """Take a transform, or a list of them, apart.

        Args:
            file: Where it stands.
            node: The transform.
            depth: How far names were followed.
        """
        found = sources(file, node)
        one = found.only
        if one is None or depth > 6:
            self.complete = False
            return
        if isinstance(one.node, ast.BinOp) and isinstance(one.node.op, ast.Add):
            self.add(one.file, one.node.left, depth + 1)
            self.add(one.file, one.node.right, depth + 1)
        elif isinstance(one.node, (ast.List, ast.Tuple)):
            if key(node) and changed_later(file, {key(node)}):
                self.complete = False
                return
            for inner in one.node.elts:
                self.add(
                    one.file, inner.value if isinstance(inner, ast.Starred) else inner, depth + 1
                )
        elif isinstance(one.node, ast.Call):
            self._call(one.file, one.node, depth)
        else:
            self.complete = False

    def _call(self, file: File, call: ast.Call, depth: int) -> None:
        short = _short(file, call)
        if short == "Compose":
            inner = argument(call, "transforms", 0)
            if inner is None:
                self.complete = False
            else:
                self.add(file, inner, depth + 1)
        elif file.dotted(call.func) == "torch.nn.Sequential":
            for one in call.args:
                self.add(file, one, depth + 1)
        else:
            self.calls.append((file, call))


@final
@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set that a program makes.

    Args:
        file: Where.
        call: The call of its class.
        name: Full name of the class.
        transform: What is done to the inputs, if it is given.
    """

    file: File = field(repr=False)
    call: ast.Call
    name: str
    transform: Source | None

    @property
    def short(self) -> str:
        """Name without its module."""
        return self.name.rpartition(".")[2]

    @property
    def named(self) -> frozenset[Role]:
        """What the name that it is given says that it is for."""
        return role_of_target(self.file, self.call)

    @property
    def made_for(self) -> frozenset[Role]:
        """What its arguments say that it is for."""
        return role(self.file, self.call)

    @property
    def roles(self) -> frozenset[Role]:
        """What it is for."""
        return self.named | self.made_for

    @property
    def parts(self) -> Parts:
        """The steps of its transform."""
        found = Parts()
        if self.transform is None:
            found.complete = False
        else:
            found.add(self.transform.file, self.transform.node)
        return found


@once
def data_sets(file: File) -> tuple[DataSet, ...]:
    """Give the data sets that a file makes, in the order of the text.

    Args:
        file: The file.
    """
    return tuple(sorted(_made(file), key=lambda one: file.tree.place(one.call)))


def _made(file: File) -> Iterator[DataSet]:
    library = file.tree.each(ast.Call) if file.names.knows("torchvision") else ()
    for call in library:
        name = file.dotted(call.func)
        short = name.rpartition(".")[2]
        if name.startswith("torchvision.datasets.") and short[:1].isupper():
            given_to = argument(call, "transform", _PLACES.get(short))
            yield DataSet(file, call, name, None if given_to is None else Source(file, given_to))
    for one in file.project.files:
        for node in one.datasets:
            for site in one.sites(node):
                if site.file is file:
                    yield _of_class(site.file, site.call, Definition(one, node))


def _of_class(file: File, call: ast.Call, definition: Definition) -> DataSet:
    node = cast("ast.ClassDef", definition.node)
    start = definition.file.methods(node).get("__init__")
    transform = _transform_of(file, call, start) or _built_in(definition)
    return DataSet(file, call, file.dotted(call.func), transform)


def _transform_of(
    file: File, call: ast.Call, start: tuple[File, ast.FunctionDef] | None
) -> Source | None:
    for name in _NAMES:
        if start is not None and name in parameters(start[1]) and not has_stars(call):
            found = given(call, start[1], name, bound=True)
            if found.value is not None and constant(found.value) is None:
                is_none = isinstance(found.value, ast.Constant)
                return None if is_none or found.is_default else Source(file, found.value)
    return None


def _built_in(definition: Definition) -> Source | None:
    """Give the transform that a class always uses, whatever it is given."""
    node, file = definition.node, definition.file
    if not isinstance(node, ast.ClassDef):
        return None
    item = file.methods(node).get("__getitem__")
    if item is None or any(isinstance(one, (ast.If, ast.IfExp)) for one in ast.walk(item[1])):
        return None
    for name in _NAMES:
        found = file.values.bindings.everywhere(node, f"self.{name}")
        value = found[0].value if len(found) == 1 else None
        if isinstance(value, ast.Call) and _is_transform(file, value):
            plain = file.tree.inside(value, ast.If, ast.IfExp) is None
            return Source(file, value) if plain else None
    return None


def named_transforms(file: File) -> Iterator[tuple[str, ast.expr]]:
    """Give the transforms that a file names, or keeps in a dictionary, each with its name.

    Args:
        file: The file.
    """
    for node in file.tree.each(ast.Assign):
        target = key(node.targets[0])
        if target and isinstance(node.value, ast.Call) and _is_transform(file, node.value):
            yield target, node.value
    for table in file.tree.each(ast.Dict):
        for name, value in zip(table.keys, table.values, strict=True):
            text = constant(name)
            if isinstance(text, str) and isinstance(value, ast.Call) and _is_transform(file, value):
                yield text, value


def _is_transform(file: File, call: ast.Call) -> bool:
    return file.dotted(call.func).startswith((_TORCHVISION, _ALBUMENTATIONS))


def _short(file: File, call: ast.Call) -> str:
    name = file.dotted(call.func)
    if not name.startswith((_TORCHVISION, _ALBUMENTATIONS)):
        return ""
    return name.rpartition(".")[2]


def _is_random(file: File, call: ast.Call) -> bool:
    short = _short(file, call)
    chance = constant(argument(call, "p", 0 if short.endswith("Flip") else None))
    if isinstance(chance, (int, float)):
        if chance == 0 or (chance == 1 and short.endswith(_BY_CHANCE_ONLY)):
            return False
    if file.dotted(call.func).startswith(_ALBUMENTATIONS):
        return short.startswith("Random") or short in _RANDOM_ALBUMENTATIONS
    return short.startswith("Random") or short in _RANDOM


def numbers(file: File, node: ast.expr | None) -> tuple[float, ...] | None:
    """Give the numbers of a tuple or list that is written out.

    Args:
        file: Where it stands.
        node: The expression, or a name of it.
    """
    found = sources(file, node).only
    if found is None:
        return None
    if isinstance(found.node, (ast.Tuple, ast.List)):
        values = [constant(one) for one in found.node.elts]
    else:
        values = [constant(found.node)]
    if not values or not all(isinstance(one, (int, float)) for one in values):
        return None
    return tuple(float(cast("float", one)) for one in values)
