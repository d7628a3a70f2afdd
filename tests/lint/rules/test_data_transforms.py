"""Rules on transforms: random parts where data are measured, constants of normalization."""

from __future__ import annotations

import pytest

from ..asked import found_in, rules_in

HEAD = """
import torch
from torch.utils.data import DataLoader, Dataset, Subset, random_split
from torchvision import datasets, transforms as T
"""
PHOTOS = """
class Photos(Dataset):
    def __init__(self, files, transform=None):
        self.files, self.transform = files, transform
    def __len__(self):
        return len(self.files)
    def __getitem__(self, index):
        return self.transform(self.files[index])
"""
AUGMENT = "augment = T.Compose([T.RandomCrop(32, 4), T.ToTensor()])\n"
RANDOM = [
    f"{AUGMENT}val_set = datasets.ImageFolder('d/val', augment)",
    "test_transform = T.Compose([T.RandomResizedCrop(224), T.ToTensor()])",
    "t = {'train': T.ToTensor(), 'val': T.Compose([T.ColorJitter(0.4), T.ToTensor()])}",
    f"{AUGMENT}test_loader = DataLoader(Photos(files, augment), 8)",
    "steps = [T.RandomHorizontalFlip()]\nboth = steps + [T.ToTensor()]\n"
    "data = datasets.CIFAR10('d', train=False, transform=T.Compose(both))",
    "def build():\n    return T.Compose([T.TrivialAugmentWide(), T.ToTensor()])\n"
    "test_set = datasets.SVHN('d', split='test', transform=build())",
    "import albumentations as A\nval_tf = A.Compose([A.HorizontalFlip(p=0.5), A.Normalize()])",
    "from torchvision.transforms import v2\n"
    "test_set = datasets.MNIST('d', False, v2.Compose([v2.RandomRotation(9)]))",
]
PLAIN = [
    f"{AUGMENT}train_set = datasets.ImageFolder('d/train', augment)",
    "test_transform = T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor()])",
    "tta_test_transform = T.Compose([T.RandomResizedCrop(224), T.ToTensor()])",
    "flip_test = T.RandomHorizontalFlip(p=1.0)",
    "def build(train):\n    steps = [T.ToTensor()]\n    if train:\n"
    "        steps.insert(0, T.RandomCrop(32, 4))\n    return T.Compose(steps)\n"
    "test_set = datasets.CIFAR10('d', train=False, transform=build(False))",
    f"{AUGMENT}pairs = datasets.STL10('d', split='unlabeled', transform=augment)",
    f"{AUGMENT}def load(train, plain):\n    tf = augment if train else plain\n"
    "    return datasets.CIFAR10('d', train=train, transform=tf)\n"
    "test_set = load(False, T.ToTensor())",
    "import albumentations as A\nval_tf = A.Compose([A.Resize(8, 8), A.CenterCrop(4, 4)])",
]
HALVES = "g = torch.Generator().manual_seed(0)\n"


@pytest.mark.parametrize("text", RANDOM)
def test_a_random_transform_where_data_are_measured_is_found(text: str) -> None:
    assert rules_in(HEAD + PHOTOS + text) == ["augmentation-on-evaluation"]


@pytest.mark.parametrize("text", PLAIN)
def test_other_transforms_may_be_random(text: str) -> None:
    assert rules_in(HEAD + PHOTOS + text) == []


SPLIT = [
    f"{HALVES}d = datasets.ImageFolder('d', augment)\na_train, a_val = random_split(d, [9, 1], g)",
    "d = datasets.CIFAR10('d', train=True, transform=augment)\nval_set = Subset(d, range(99))",
    "train_set = datasets.CIFAR10('d', transform=augment)\n"
    "val_loader = DataLoader(train_set, 8, sampler=torch.utils.data.SubsetRandomSampler(some))",
    f"{HALVES}class Run:\n    def load(self):\n        d = Photos(files, augment)\n"
    "        self.train_set, self.val_set = random_split(d, [9, 1], generator=g)",
    "d = Photos(files, transform=augment)\n"
    "valid_loader = DataLoader(Subset(d, range(9)), batch_size=8)",
]
NOT_SPLIT = [
    f"{HALVES}d = datasets.ImageFolder('d', T.ToTensor())\na, a_val = random_split(d, [9, 1], g)",
    f"{HALVES}d = Photos(files)\na_train, a_val = random_split(d, [9, 1], generator=g)",
    "d = datasets.CIFAR10('d', transform=augment)\ntrain_set = Subset(d, range(99))",
    f"{HALVES}d = datasets.MNIST('d', transform=augment)\nsome, rest = random_split(d, [9, 1], g)",
    f"{HALVES}d = datasets.ImageFolder('d', augment)\na, val = random_split(d, [9, 1], g)\n"
    "val.dataset = copy(d)\nval.dataset.transform = T.ToTensor()",
]


@pytest.mark.parametrize("text", SPLIT)
def test_a_validation_part_of_augmented_data_is_found(text: str) -> None:
    assert rules_in(HEAD + PHOTOS + AUGMENT + text) == ["augmentation-on-validation-split"]


@pytest.mark.parametrize("text", NOT_SPLIT)
def test_other_parts_may_be_augmented(text: str) -> None:
    assert rules_in(HEAD + PHOTOS + AUGMENT + text) == []


def normalized(data: str, mean: str, std: str) -> str:
    return f"tf = T.Compose([T.ToTensor(), T.Normalize({mean}, {std})])\nd = datasets.{data}\n"


IMAGENET = "[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]".split("], ")
OTHERS = [
    normalized("FashionMNIST('d', transform=tf)", "(0.1307,)", "(0.3081,)"),
    normalized("SVHN('d', transform=tf)", "(0.4914, 0.4822, 0.4465)", "(0.247, 0.243, 0.261)"),
    normalized("CIFAR100('d', True, tf)", "(0.4914, 0.4822, 0.4465)", "(0.247, 0.243, 0.261)"),
    "M, S = [0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761]\n"
    + normalized("CIFAR10('d', transform=tf)", "mean=M", "std=S"),
    normalized("KMNIST('d', transform=tf)", "0.1307", "0.3081"),
]
OWN = [
    normalized("MNIST('d', transform=tf)", "(0.1307,)", "(0.3081,)"),
    normalized("FashionMNIST('d', transform=tf)", "(0.5,)", "(0.5,)"),
    normalized("ImageFolder('d', transform=tf)", IMAGENET[0] + "]", IMAGENET[1]),
    "from torchvision.models import resnet18\n"
    + normalized("CIFAR10('d', transform=tf)", IMAGENET[0] + "]", IMAGENET[1]),
    normalized("CIFAR10('d', transform=tf)", "(0.4914, 0.4822, 0.4465)", "(0.247, 0.243, 0.261)")
    + "shifted = datasets.SVHN('d', transform=tf)",
    normalized("MNIST('d', transform=tf)", "mean", "std"),
]


@pytest.mark.parametrize("text", OTHERS)
def test_constants_of_another_data_set_are_found(text: str) -> None:
    assert rules_in(HEAD + text) == ["normalization-of-another-dataset"]


@pytest.mark.parametrize("text", OWN)
def test_constants_that_are_right_or_meant(text: str) -> None:
    assert rules_in(HEAD + text) == []


def test_imagenet_constants_on_small_images_are_a_hint() -> None:
    text = normalized("CIFAR10('d', transform=tf)", IMAGENET[0] + "]", IMAGENET[1])
    assert [f.severity for f in found_in(HEAD + text)] == ["hint"]


NORM = "T.Normalize((0.1307,), (0.3081,))"
HALF = "T.Normalize((0.5,), (0.5,))"
TWO = "train_tf = T.Compose([T.ToTensor(), {}])\ntest_tf = T.Compose([T.ToTensor(), {}])\n"
DIFFERENT = [
    TWO.format(NORM, HALF),
    "train_tf = T.Compose([T.ToTensor(), T.Normalize(0.5, 0.5)])\n"
    "val_tf = T.Compose([T.ToTensor()])",
    f"t = {{'train': T.Compose([{NORM}]), 'val': T.Compose([{HALF}])}}",
    f"a = datasets.USPS('d', train=True, transform=T.Compose([T.ToTensor(), {HALF}]))\n"
    "b = datasets.USPS('d', train=False, transform=T.ToTensor())",
    f"a = datasets.ImageFolder('d/train', T.Compose([T.ToTensor(), {NORM}]))\n"
    f"b = datasets.ImageFolder('d/val', T.Compose([T.ToTensor(), {HALF}]))",
]
ALIKE = [
    TWO.format(NORM, NORM),
    TWO.format("T.Normalize(mean, std)", HALF),
    f"mnist_train_tf = T.Compose([{NORM}])\nusps_test_tf = T.Compose([{HALF}])",
    f"norm = {NORM}\n" + TWO.format("norm", "norm"),
    TWO.format(NORM, "Standardize()"),
    f"train_tf = T.Compose([T.ToTensor(), {NORM}])\nshow_tf = T.Compose([T.ToTensor()])",
]


@pytest.mark.parametrize("text", DIFFERENT)
def test_different_constants_are_found(text: str) -> None:
    assert rules_in(HEAD + text) == ["different-normalization"]


@pytest.mark.parametrize("text", ALIKE)
def test_constants_that_are_alike_or_not_known(text: str) -> None:
    assert rules_in(HEAD + text) == []
