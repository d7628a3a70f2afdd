"""Well-known constants of one data set, used on another."""

from __future__ import annotations

from collections.abc import Iterator

from ..._data._transforms import DataSet, data_sets, numbers
from ..._model._file import File
from ..._model._tree import argument, constant
from ..._rule import Found, Rule

_MEANS = {
    "MNIST": (0.1307,),
    "FashionMNIST": (0.2860,),
    "KMNIST": (0.1918,),
    "CIFAR10": (0.4914, 0.4822, 0.4465),
    "CIFAR100": (0.5071, 0.4867, 0.4408),
    "SVHN": (0.4377, 0.4438, 0.4728),
    "ImageNet": (0.485, 0.456, 0.406),
}
"""Mean of each channel of the training part."""
_PRETRAINED = ("torchvision.models.", "timm.", "torch.hub.", "transformers.", "open_clip.", "clip.")


def check(file: File) -> Iterator[Found]:
    """Look for data sets of torchvision whose `Normalize` has the mean of another one.

    Args:
        file: The file.
    """
    for data in data_sets(file):
        if data.short not in _MEANS or not data.name.startswith("torchvision.datasets."):
            continue
        step = data.parts.normalize
        if step is None or data.short == "ImageNet":
            continue
        there, call = step
        other = _whose(numbers(there, argument(call, "mean", 0)))
        if other in ("", data.short) or _meant(file, data, other):
            continue
        yield Found(
            call if there is file else data.call,
            f"`{data.short}` is normalized with the mean and deviation of {other}.",
            f"Use the constants of {data.short}, or those of its training part.",
            certain=not (other == "ImageNet" and len(_MEANS[data.short]) == 3),
        )


def _whose(mean: tuple[float, ...] | None) -> str:
    """Give the data set that a mean belongs to."""
    if mean is None:
        return ""
    if len(mean) == 3 and len(set(mean)) == 1:
        mean = mean[:1]
    for name, known in _MEANS.items():
        if len(known) == len(mean):
            if all(abs(a - b) < 0.0012 for a, b in zip(known, mean, strict=True)):
                return name
    return ""


def _meant(file: File, data: DataSet, other: str) -> bool:
    """Say whether a model that was trained on the other data may be in use."""
    for one in file.project.files:
        if any(there.short == other for there in data_sets(one) if there.call is not data.call):
            return True
        if any(one.names.knows(module.rstrip(".")) for module in _PRETRAINED):
            return True
        for call in one.method_calls("from_pretrained", "create_model"):
            if constant(argument(call, "pretrained")) is not False:
                return True
    return any(True for _ in file.calls(*(f"{module}load" for module in _PRETRAINED)))


RULE = Rule(
    name="normalization-of-another-dataset",
    severity="warning",
    title="Images are normalized with the constants of another data set",
    why=(
        "The inputs do not have mean 0 and deviation 1. The network trains, somewhat slower,"
        " and nothing is reported; but results no longer compare with published ones, and a"
        " program that uses the right constants reads the saved weights wrong. Constants of"
        " ImageNet are right where the weights come from ImageNet."
    ),
    fix="Compute mean and deviation on the training part, or take those of this data set.",
    bad="""\
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

transform = transforms.Compose([
    transforms.ToTensor(),
    transforms.Normalize((0.1307,), (0.3081,)),
])
train_set = datasets.FashionMNIST("data", train=True, transform=transform, download=True)
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
""",
    good="""\
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

transform = transforms.Compose([
    transforms.ToTensor(),
    transforms.Normalize((0.2860,), (0.3530,)),
])
train_set = datasets.FashionMNIST("data", train=True, transform=transform, download=True)
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
""",
    source="The means are those of the training images; torchvision documents those of ImageNet.",
    check=check,
)
