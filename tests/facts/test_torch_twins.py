"""Every layer, loss, metric, optimizer, schedule and loader stands beside its twin in torch.

``docs/torch-twins.tsv`` is the list: a name, its twin (or ``-`` where torch has none) and the test
that compares them. It is checked here; comparisons that have no better place are here too.
"""

from __future__ import annotations

import ast
import csv
import functools
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.optim import lr_scheduler

import fitwell.nn as layers
from fitwell import optim
from fitwell.core.catalog import entries
from fitwell.data import Crop, Flip

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "torch-twins.tsv"
FAMILIES = ("nn", "losses", "metrics", "optim")
OF_DATA = ("Batches", "Chain", "Crop", "Flip")
"""What `fitwell.data` puts between examples and a model; the rest of it reads files."""

# Sums of float32 in another order differ in the last bits.
REORDERED = {"rtol": 1e-5, "atol": 1e-6}


# The list ----------------------------------------------------------------------------------------


def rows(file: Path = FILE) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.reader(text, delimiter="\t", quoting=csv.QUOTE_NONE))


def attribute(path: str) -> object:
    """Give what a dotted name stands for, or None."""
    words = path.split(".")
    for size in range(len(words), 0, -1):
        try:
            value: object = importlib.import_module(".".join(words[:size]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(lambda owner, word: getattr(owner, word, None), words[size:], value)
    return None


@functools.cache
def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def problems(listed: list[list[str]]) -> list[str]:
    """Give what is wrong with the rows after the header."""
    found = []
    for number, row in enumerate(listed, start=2):
        if len(row) != 3:
            found.append(f"line {number}: {len(row)} columns")
            continue
        name, twin, test = row
        if attribute(f"fitwell.{name}") is None:
            found.append(f"line {number}: no {name}")
        if twin != "-" and attribute(twin) is None:
            found.append(f"line {number}: no {twin}")
        file, _, function = test.partition("::")
        if not (ROOT / file).is_file() or function not in functions_of(ROOT / file):
            found.append(f"line {number}: no {test}")
    return found


def test_wrong_lines_are_caught() -> None:
    me = "tests/facts/test_torch_twins.py::test_wrong_lines_are_caught"
    assert problems([["nn.MLP", "torch.nn.Sequential", me], ["nn.MLP", "-", me]]) == []
    assert problems([["nn.MLP", me]]) == ["line 2: 2 columns"]
    assert problems([["nn.MPL", "torch.nn.Sequentail", me[:-1]]]) == [
        "line 2: no nn.MPL",
        "line 2: no torch.nn.Sequentail",
        f"line 2: no {me[:-1]}",
    ]


def test_pt_01_every_line_names_what_is_there() -> None:
    header, *listed = rows()
    assert header == ["name", "twin", "test"]
    assert problems(listed) == []


def test_pt_01_every_public_name_is_listed_once() -> None:
    public = {e.path for family in FAMILIES for e in entries(family) if e.kind != "value"}
    public |= {f"data.{name}" for name in OF_DATA}
    names = [row[0] for row in rows()[1:]]
    assert sorted(public - set(names)) == []
    assert sorted(names) == sorted(set(names))


# Layers ------------------------------------------------------------------------------------------


def copied(theirs: nn.Module, ours: nn.Module) -> nn.Module:
    """Give torch's module the state of ours, in order, and random statistics to both."""
    torch.manual_seed(0)
    for tensor in ours.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 0.1)
    source, target = list(ours.state_dict().values()), list(theirs.state_dict().values())
    for one, other in zip(target, source, strict=True):
        one.copy_(other)
    return theirs.eval()


def conv(channels: int, width: int, size: int = 3, **options: Any) -> list[nn.Module]:
    options = {"padding": size // 2, "bias": False, **options}
    return [nn.Conv2d(channels, width, size, **options), nn.BatchNorm2d(width), nn.ReLU()]


def test_conv_norm_relu_is_three_layers_of_torch() -> None:
    ours = layers.conv_norm_relu(4, 6, kernel_size=5, stride=2, groups=2).eval()
    theirs = copied(nn.Sequential(*conv(4, 6, 5, stride=2, groups=2)), ours)
    x = torch.randn(2, 4, 9, 11)
    assert torch.equal(ours(x), theirs(x))


def test_separable_conv_is_six_layers_of_torch() -> None:
    ours = layers.separable_conv(4, 6, 2).eval()
    parts = [*conv(4, 4, stride=2, groups=4), *conv(4, 6, 1)]
    theirs = copied(nn.Sequential(*parts), ours)
    x = torch.randn(2, 4, 9, 11)
    assert torch.equal(ours(x), theirs(x))


def test_cnn_equals_a_sequential_with_copied_weights() -> None:
    ours = layers.CNN(2, 5, widths=(4, 6), convs=2).eval()
    groups = [*conv(2, 4), *conv(4, 4), nn.MaxPool2d(2), *conv(4, 6), *conv(6, 6)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5)]
    theirs = copied(nn.Sequential(*groups, *head), ours)
    x = torch.rand(3, 2, 9, 12)
    torch.testing.assert_close(ours(x), theirs(x), **REORDERED)


def test_lenet_equals_a_sequential_with_copied_weights() -> None:
    ours = layers.LeNet5(1, 10).eval()
    theirs = nn.Sequential(
        nn.ZeroPad2d(2),
        *(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten()),
        *(nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )
    torch.manual_seed(0)
    for target, source in zip(theirs.parameters(), ours.parameters(), strict=True):
        target.data.copy_(source.data)
    x = torch.rand(3, 1, 28, 28)
    torch.testing.assert_close(ours(x), theirs(x), **REORDERED)


def test_normalize_is_batch_norm_at_rest() -> None:
    mean, std = [0.1, 0.5, 0.9], [0.2, 0.7, 1.5]
    theirs = nn.BatchNorm2d(3, eps=0.0, affine=False).eval()
    theirs.running_mean, theirs.running_var = torch.tensor(mean), torch.tensor(std) ** 2
    x = torch.rand(4, 3, 5, 6)
    torch.testing.assert_close(layers.Normalize(mean, std)(x), theirs(x), **REORDERED)


def test_he_init_draws_what_torch_draws() -> None:
    ours = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(4, 4), nn.Conv2d(8, 2, 1))
    weight, other = torch.empty(8, 3, 3, 3), torch.empty(2, 8, 1, 1)
    torch.manual_seed(3)
    layers.he_init(ours)
    torch.manual_seed(3)
    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")
    nn.init.kaiming_normal_(other, mode="fan_out", nonlinearity="relu")
    assert torch.equal(ours[0].weight, weight)
    assert torch.equal(ours[2].weight, other)


# Reference models --------------------------------------------------------------------------------


class Block(nn.Module):
    """The basic block of he2016deep, with the names of parts that torchvision documents."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1:
            shrink = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(shrink, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.downsample(x))


class Reference(nn.Module):
    """ResNet-18 of he2016deep, table 1."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
        self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
        self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
        self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        result: Tensor = self.fc(x.mean((2, 3)))
        return result


def documented_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """The names and shapes of torchvision's resnet18, from the architecture."""
    shapes: dict[str, tuple[int, ...]] = {}

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (width,)
        shapes[f"{name}.num_batches_tracked"] = ()

    shapes["conv1.weight"] = (64, 3, 7, 7)
    norm("bn1", 64)
    channels = 64
    for layer, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{layer}.{block}"
            shapes[f"{name}.conv1.weight"] = (width, channels, 3, 3)
            norm(f"{name}.bn1", width)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
            norm(f"{name}.bn2", width)
            if width != channels:
                shapes[f"{name}.downsample.0.weight"] = (width, channels, 1, 1)
                norm(f"{name}.downsample.1", width)
            channels = width
    shapes["fc.weight"], shapes["fc.bias"] = (classes, 512), (classes,)
    return shapes


def our_name(name: str) -> str:
    """Turn the name of a tensor of torchvision's resnet18 into that of `fitwell.nn.ResNet18`."""
    if name.startswith("layer"):
        layer, block, rest = re.fullmatch(r"layer(\d)\.(\d)\.(.*)", name).groups()  # type: ignore[union-attr]
        rest = rest.replace("bn", "norm").replace("downsample", "project")
        return f"blocks.{2 * (int(layer) - 1) + int(block)}.{rest}"
    name = name.replace("fc.", "head.").replace("bn1.", "stem.1.")
    return name.replace("conv1.", "stem.0.")


def test_pt_05_resnet18_gives_the_logits_of_the_documented_architecture() -> None:
    torch.manual_seed(0)
    theirs = Reference(7).eval()
    assert {k: tuple(v.shape) for k, v in theirs.state_dict().items()} == documented_shapes(7)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if it had been trained
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    ours = layers.ResNet18(3, 7, stem="imagenet").eval()
    renamed = {our_name(name): tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(renamed, strict=True)
    x = torch.rand(2, 3, 64, 48)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


def photos(count: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 256, (12, 15, 3), dtype=np.uint8)) for _ in range(count)
    ]


def as_batch(images: list[Image.Image]) -> Tensor:
    """(B, C, H, W) floats in [0, 1], as `Batches` gives them."""
    return (
        torch.from_numpy(np.stack([np.asarray(image) for image in images]))
        .permute(0, 3, 1, 2)
        .float()
        .div(255)
    )


def test_pt_05_flip_equals_pillow() -> None:
    images = photos(6)
    generator = torch.Generator().manual_seed(4)
    ours = Flip(p=0.5)(as_batch(images), generator)
    coins = torch.rand(6, generator=torch.Generator().manual_seed(4)) < 0.5
    assert 0 < coins.sum() < 6
    theirs = [
        ImageOps.mirror(image) if coin else image
        for image, coin in zip(images, coins.tolist(), strict=True)
    ]
    assert torch.equal(ours, as_batch(theirs))


def test_pt_05_crop_equals_pillow() -> None:
    images, padding = photos(6), 3
    ours = Crop(padding=padding)(as_batch(images), torch.Generator().manual_seed(4))
    shifts = torch.randint(2 * padding + 1, (2, 6, 1), generator=torch.Generator().manual_seed(4))
    theirs = []
    for image, top, left in zip(images, *shifts.squeeze(-1).tolist(), strict=True):
        window = (left, top, left + image.width, top + image.height)
        theirs.append(ImageOps.expand(image, padding, fill=0).crop(window))
    assert torch.equal(ours, as_batch(theirs))


def test_pt_05_normalize_equals_numpy() -> None:
    x = as_batch(photos(4))
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    shape = (1, 3, 1, 1)
    theirs = (x.numpy() - np.float32(mean).reshape(shape)) / np.float32(std).reshape(shape)
    np.testing.assert_array_equal(layers.Normalize(mean, std)(x).numpy(), theirs)


# Optimizers and schedules ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "ASGD",
        "Adadelta",
        "Adafactor",
        "Adagrad",
        "Adamax",
        "NAdam",
        "Optimizer",
        "RAdam",
        "RMSprop",
    ],
)
def test_what_torch_has_is_torchs_own(name: str) -> None:
    assert getattr(optim, name) is getattr(torch.optim, name)


def test_warm_up_equals_torchs_sequence_at_every_step() -> None:
    total, steps, rate = 40, 5, 0.3
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=rate)
    rise = lr_scheduler.LinearLR(optimizer, 1 / steps, 1.0, steps - 1)
    fall = lr_scheduler.CosineAnnealingLR(optimizer, total - steps)
    scheduler = lr_scheduler.SequentialLR(optimizer, [rise, fall], [steps])
    ours = optim.WarmUp(steps=steps, then=optim.Cosine())
    for step in range(total):
        assert rate * ours(step, total) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()
