from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, Dataset


@dataclass
class Loaders:
    train: DataLoader
    val: DataLoader
    test: DataLoader
    num_classes: int


class RandomShift:
    def __init__(self, pixels=1):
        self.pixels = pixels

    def __call__(self, img):
        dy, dx = torch.randint(-self.pixels, self.pixels + 1, (2,)).tolist()
        return torch.roll(img, (dy, dx), dims=(-2, -1))


class DigitImages(Dataset):
    def __init__(self, images, labels, mean, std, transform=None):
        self.images = (torch.as_tensor(images, dtype=torch.float32).unsqueeze(1) - mean) / std
        self.labels = torch.as_tensor(labels, dtype=torch.long)
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, idx):
        img = self.images[idx]
        if self.transform is not None:
            img = self.transform(img)
        return img, self.labels[idx]


def build_loaders(batch_size, seed=0, workers=0):
    digits = load_digits()
    index = np.arange(len(digits.images))
    rest, test = train_test_split(
        index, test_size=0.2, random_state=seed, stratify=digits.target
    )
    train, val = train_test_split(
        rest, test_size=0.2, random_state=seed, stratify=digits.target[rest]
    )
    mean, std = digits.images[train].mean(), digits.images[train].std()

    def subset(idx, transform=None):
        return DigitImages(digits.images[idx], digits.target[idx], mean, std, transform)

    return Loaders(
        train=DataLoader(
            subset(train, RandomShift()), batch_size, shuffle=True, drop_last=True,
            num_workers=workers,
        ),
        val=DataLoader(subset(val), 2 * batch_size, num_workers=workers),
        test=DataLoader(subset(test), 2 * batch_size, num_workers=workers),
        num_classes=10,
    )
