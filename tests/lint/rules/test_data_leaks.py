"""Rules on what the training knows of the test data."""

from __future__ import annotations

import pytest

from ..asked import found_in, rules_in

HEAD = """
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.model_selection import KFold, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, MinMaxScaler, StandardScaler
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset
from torchvision import datasets
"""
REFITTED = [
    "s = StandardScaler()\nX_train = s.fit_transform(X_train)\nX_test = s.fit_transform(X_test)",
    "train_x = MinMaxScaler().fit_transform(train_x)\nval_x = MinMaxScaler().fit_transform(val_x)",
    "v = TfidfVectorizer()\na = v.fit_transform(train_df['text'])\n"
    "b = v.fit_transform(test_df['text'])",
    "p = PCA(9)\na = p.fit_transform(xtrain)\np.fit(xtest)\nb = p.transform(xtest)",
    "def f(scaler, X_train, X_test):\n    scaler.fit(X_train)\n"
    "    return scaler.fit_transform(X_test.values.reshape(-1, 1))",
    "x_train = (x_train - x_train.mean(0)) / x_train.std(0)\n"
    "x_test = (x_test - x_test.mean(0)) / (x_test.std(0) + 1e-8)",
]
FITTED_ONCE = [
    "s = StandardScaler().fit(X_train)\n"
    "X_train, X_test = s.transform(X_train), s.transform(X_test)",
    "a = PCA(2).fit_transform(test_features)",
    "mean, std = x_train.mean(0), x_train.std(0)\nx_test = (x_test - mean) / std",
    "m = make_pipeline(StandardScaler(), model)\nm.fit(X_train, y_train)\nm.predict(X_test)",
    "model.fit(X_train, y_train)\nadapter.fit(X_test)",
    "test_x = (test_x - test_x.mean(axis=1)) / test_x.std(axis=1)\n"
    "train_x = (train_x - train_x.mean(axis=1)) / train_x.std(axis=1)",
]


@pytest.mark.parametrize("text", REFITTED)
def test_fitting_again_on_test_data_is_found(text: str) -> None:
    found = found_in(HEAD + text)
    assert [(f.rule, f.severity) for f in found] == [("scaler-fitted-on-test", "error")]


@pytest.mark.parametrize("text", FITTED_ONCE)
def test_what_is_fitted_on_training_data_alone(text: str) -> None:
    assert rules_in(HEAD + text) == []


EARLY = [
    "X = TfidfVectorizer().fit_transform(texts).toarray()\nX = torch.tensor(X)\n"
    "a, b, c, d = train_test_split(X, y, random_state=0)",
    "from imblearn.over_sampling import SMOTE\nX2, y2 = SMOTE().fit_resample(X, y)\n"
    "a, b, c, d = train_test_split(X2, y2, random_state=0)",
    "def f(df, cols):\n    df[cols] = MinMaxScaler().fit_transform(df[cols])\n"
    "    return train_test_split(df, random_state=0)",
    "s = StandardScaler()\ns.fit(X)\nX_train, X_test = train_test_split(X, random_state=0)\n"
    "X_train = s.transform(X_train)",
    "X = (X - X.mean(axis=0)) / X.std(axis=0)\nX_train, X_test = X[:800], X[800:]",
    "best = SelectKBest(k=9).fit_transform(X, y)\nscore = cross_val_score(model, best, y)",
    "kf = KFold(5)\nX = PCA(9).fit_transform(X)\nfor a, b in kf.split(X):\n    run(X[a], X[b])",
]
IN_TIME = [
    "X_train, X_test = train_test_split(X, random_state=0)\n"
    "X_train = PCA(9).fit_transform(X_train)",
    "y = LabelEncoder().fit_transform(names)\na, b, c, d = train_test_split(X, y, random_state=0)",
    "score = cross_val_score(make_pipeline(StandardScaler(), model), X, y)",
    "flat = PCA(2).fit_transform(X)\nplot(flat)\na, b = train_test_split(X, random_state=0)",
    "X_train = StandardScaler().fit_transform(X_train)\n"
    "a, b = train_test_split(X_train, random_state=0)",
    "X = (X - X.mean(axis=1)) / X.std(axis=1)\nX_train, X_test = X[:800], X[800:]",
    "X = MinMaxScaler().fit_transform(X)\ngroups = KMeans(9).fit_predict(X)",
]


@pytest.mark.parametrize("text", EARLY)
def test_fitting_before_the_split_is_found(text: str) -> None:
    assert rules_in(HEAD + text) == ["fitted-before-split"]


@pytest.mark.parametrize("text", IN_TIME)
def test_what_is_fitted_after_the_split_or_not_split(text: str) -> None:
    assert rules_in(HEAD + text) == []


STEPS = """
def fit(model, optimizer, train_set, test_set, loss_fn):
    train_loader = DataLoader(train_set, 8, shuffle=True)
    test_loader = DataLoader(test_set, 8)
    model.train()
    for epoch in range(9):
        for x, y in {}:
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
"""
MEASURED = "test_loader = DataLoader(test_set, 8)"
JOINED = [
    f"l = ConcatDataset([train_set, test_set])\ntrain_loader = DataLoader(l, 8, True)\n{MEASURED}",
    f"train_loader = DataLoader(train_set + test_set, 8, shuffle=True)\n{MEASURED}",
    f"train_dl = DataLoader(ConcatDataset((a_train, b_train, test_set)), 8, True)\n{MEASURED}",
    STEPS.format("test_loader"),
    STEPS.format("enumerate(test_loader)").replace("for x, y", "for i, (x, y)"),
]
APART = [
    "l = ConcatDataset([train_set, test_set])\ntrain_loader = DataLoader(l, shuffle=True)",
    f"l = ConcatDataset([train_set, val_set])\ntrain_loader = DataLoader(l, 8, True)\n{MEASURED}",
    STEPS.format("train_loader"),
    STEPS.format("test_loader").replace("def fit", "def adapt_at_test_time"),
    f"all_loader = DataLoader(ConcatDataset([train_set, test_set]), 8)\n{MEASURED}",
]


@pytest.mark.parametrize("text", JOINED)
def test_training_on_test_data_is_found(text: str) -> None:
    assert rules_in(HEAD + text) == ["test-in-training-data"]


@pytest.mark.parametrize("text", APART)
def test_training_without_test_data(text: str) -> None:
    assert rules_in(HEAD + text) == []


SAME = [
    "train_loader = DataLoader(d, 8, shuffle=True)\ntest_loader = DataLoader(d, 8)",
    "def f(data):\n    return {'train': DataLoader(data, 8, True), 'val': DataLoader(data, 8)}",
    "test_set = datasets.CIFAR10('d', train=True)",
    "test_data = datasets.ImageFolder('flowers/train')",
    "class R:\n    def __init__(self, data):\n        self.train_dl = DataLoader(data, 8, True)\n"
    "        self.val_dl = DataLoader(data, 8)",
]
TWO = [
    "d = load('train')\ntrain_loader = DataLoader(d, 8, shuffle=True)\nd = load('test')\n"
    "test_loader = DataLoader(d, 8)",
    "train_loader = DataLoader(d, 8, sampler=a)\nval_loader = DataLoader(d, 8, sampler=b)",
    "val_set = Subset(datasets.CIFAR10('d', train=True), few)",
    "test_set = datasets.CIFAR10('d', train=True)\ntest_set = Subset(test_set, range(9))",
    "train_loader = DataLoader(d, 8, shuffle=True)\ntrain_eval_loader = DataLoader(d, 8)",
]


@pytest.mark.parametrize("text", SAME)
def test_the_same_data_twice_are_found(text: str) -> None:
    assert rules_in(HEAD + text) == ["same-data-for-train-and-test"]


@pytest.mark.parametrize("text", TWO)
def test_two_parts_or_sets(text: str) -> None:
    assert rules_in(HEAD + text) == []


ALONE = [
    "order = torch.randperm(len(x))\nx = x[order]\nd = TensorDataset(x, y)",
    "np.random.shuffle(X_all)\nd = TensorDataset(X_all, y_all)",
    "import random\nrandom.shuffle(images)\npairs = list(zip(images, labels))",
    "X = X[np.random.permutation(len(X))]\na, b, c, d = train_test_split(X, y, random_state=0)",
    "def f(features, targets, g):\n    features = features[torch.randperm(9, generator=g)]\n"
    "    return TensorDataset(features, targets)",
]
TOGETHER = [
    "order = torch.randperm(len(x))\nx, y = x[order], y[order]\nd = TensorDataset(x, y)",
    "order = torch.randperm(len(x))\nx = x[order]\ny = y[order]\nd = TensorDataset(x, y)",
    "import random\nrandom.shuffle(files)\nlabels = [label(f) for f in files]\n"
    "z = zip(files, labels)",
    "np.random.seed(0)\nnp.random.shuffle(x)\nnp.random.seed(0)\nnp.random.shuffle(y)\n"
    "d = TensorDataset(x, y)",
    "order = torch.randperm(len(x))\ny = y[order]\nrandom_labels = TensorDataset(x, y)",
    "pairs = list(zip(x, y))\nnp.random.shuffle(pairs)\nx, y = zip(*pairs)\n"
    "d = TensorDataset(x, y)",
]


@pytest.mark.parametrize("text", ALONE)
def test_inputs_in_an_order_of_their_own_are_found(text: str) -> None:
    assert rules_in(HEAD + text) == ["labels-not-permuted-together"]


@pytest.mark.parametrize("text", TOGETHER)
def test_inputs_and_labels_in_one_order(text: str) -> None:
    assert rules_in(HEAD + text) == []
