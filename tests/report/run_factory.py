"""Run folders as training leaves them, made without training; the numbers have the right shapes."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = tuple(str(digit) for digit in range(10))


def make_run(
    folder: Path,
    *,
    seed: int = 0,
    epochs: int = 30,
    skill: float = 0.93,
    class_names: tuple[str, ...] = DIGITS,
    test_rows: int = 360,
    pictures: bool = True,
    lr: float = 0.003,
    model: str = "CNN(channels=(32, 64), hidden=128)",
) -> Path:
    """Write the folder of a finished image classification run."""
    random = np.random.default_rng(seed)
    classes = len(class_names)
    target = np.random.default_rng(99).integers(0, classes, test_rows)
    wrong = random.random(test_rows) > skill
    slip = np.where(random.random(test_rows) < 0.6, (target * 3 + 1) % classes, target - 1)
    prediction = np.where(wrong, slip % classes, target)
    confusion = np.zeros((classes, classes), dtype=int)
    np.add.at(confusion, (target, prediction), 1)
    accuracy = float((target == prediction).mean())
    write(folder, "run.json", run_record(class_names, epochs=epochs, lr=lr, model=model))
    write_metrics(folder, epochs=epochs, top=accuracy, lr=lr, seed=seed)
    write(
        folder,
        "result.json",
        {
            "run": str(folder), "task": "images", "model": model, "parameters": 421642,
            "epochs": epochs, "steps": epochs * 36, "seconds": 41.7,
            "examples_per_second": 24817.3, "best_epoch": epochs - 4,
            "peak_memory": 412_000_000, "peak_device_memory": 1_250_000_000,
            "train": {"loss": 0.0121, "accuracy": 0.9983},
            "valid": {"loss": 0.0829, "accuracy": accuracy - 0.004},
            "test": {"loss": 0.0764, "accuracy": accuracy},
        },
    )  # fmt: skip
    write(folder, "evaluation.json", {
        "part": "test",
        "class_names": list(class_names),
        "confusion": confusion.tolist(),
        "per_class": per_class(confusion, class_names),
        "examples": examples(target, prediction, class_names, random, pictures),
        "worst": examples(target, prediction, class_names, random, pictures)[:3],
        "calibration": calibration_record(target, prediction),
        "regression": None,
    })  # fmt: skip
    if pictures:
        write(folder, "data.json", {"part": "train", "sheet": sheet(class_names, random),
                                    "columns": [], "target": None})  # fmt: skip
    ids = np.array([f"{row:05d}" for row in range(test_rows)])
    np.savez(folder / "predictions_test.npz", ids=ids, target=target, prediction=prediction)
    return folder


def make_regression_run(folder: Path, *, seed: int = 1, points: int = 400) -> Path:
    """Write the folder of a finished table regression run."""
    random = np.random.default_rng(seed)
    target = random.gamma(4.0, 40.0, points)
    prediction = target * 0.93 + 9 + random.normal(0, 22, points)
    rmse = float(np.sqrt(np.mean((prediction - target) ** 2)))
    run = run_record((), epochs=40, lr=0.001, model="MLP(hidden=(128, 64))")
    run["task"] = "table"
    run["command"] = "fitwell train table houses.csv --target price --seed 0"
    run["data"]["source"] = "houses.csv"
    run["data"]["counts"]["test"] = points
    run["schema"] = {
        "kind": "table", "input_shape": [4], "target_kind": "number", "target_name": "price",
        "columns": [
            {"name": "area", "kind": "number", "categories": []},
            {"name": "rooms", "kind": "number", "categories": []},
            {"name": "year", "kind": "number", "categories": []},
            {"name": "town", "kind": "category", "categories": ["Ulm", "Bonn", "Trier & Umland"]},
        ],
    }  # fmt: skip
    write(folder, "run.json", run)
    rows: list[dict[str, Any]] = []
    for epoch in range(1, 41):
        value = rmse * (1 + 3 * math.exp(-epoch / 6))
        rows.append({
            "kind": "epoch", "epoch": epoch, "step": epoch * 20, "seconds": 0.4,
            "examples_per_second": 40000.0, "train": {"loss": (0.9 * value) ** 2},
            "valid": {"loss": value**2, "rmse": value},
        })  # fmt: skip
    write_lines(folder, rows)
    write(folder, "result.json", {
        "run": str(folder), "task": "table", "model": "MLP(hidden=(128, 64))", "parameters": 9025,
        "epochs": 40, "steps": 800, "seconds": 9.1, "examples_per_second": 40123.0,
        "best_epoch": 40, "train": {"loss": 350.1}, "valid": {"loss": 470.0, "rmse": rmse * 1.02},
        "test": {"loss": rmse**2, "rmse": rmse, "mae": 17.2, "r2": None},
    })  # fmt: skip
    far = np.argsort(-np.abs(prediction - target))[:5]
    row = {"area": 91.5, "rooms": None, "year": 1978.0, "town": "Trier & Umland"}
    write(folder, "evaluation.json", {
        "part": "test",
        "regression": {"target": target.tolist(), "prediction": prediction.tolist()},
        "examples": [{"id": f"h{k}", "picture": None, "row": row, "target": target[k],
                      "prediction": prediction[k]} for k in far],
    })  # fmt: skip
    write(folder, "data.json", {
        "part": "train", "sheet": None, "target": numbers_record("price", 90.0),
        "columns": [
            numbers_record("area", 40.0), numbers_record("rooms", 1.0, missing=30),
            {"name": "year", "kind": "number", "rows": 300, "missing": 300},
            {"name": "town", "kind": "category", "rows": 300, "missing": 4, "distinct": 3,
             "common": [["Ulm", 200], ["Trier & Umland", 90]]},
        ],
    })  # fmt: skip
    ids = np.array([f"h{k}" for k in range(points)])
    np.savez(folder / "predictions_test.npz", ids=ids, target=target, prediction=prediction)
    return folder


def make_killed_run(folder: Path) -> Path:
    """Write the folder of a run that was killed in epoch 8, in the middle of a line."""
    write(folder, "run.json", {**run_record(DIGITS, epochs=30, lr=0.003), "status": "running"})
    write_metrics(folder, epochs=7, planned=30, top=0.9, lr=0.003, seed=3)
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "step", "step": 253, "lo')
    return folder


def run_record(
    class_names: tuple[str, ...], *, epochs: int, lr: float, model: str = "CNN(channels=(32, 64))"
) -> dict[str, Any]:
    """Give the content of run.json."""
    return {
        "format": 1, "fitwell": "0.1.0", "status": "finished", "task": "images",
        "created": "2025-03-14T09:26:53+00:00",
        "command": f"fitwell train digits --model cnn --epochs {epochs} --optimizer"
        f" 'AdamW(lr={lr}, weight_decay=0.01)' --schedule 'WarmupCosine(warmup_steps=50)' --seed 0",
        "settings": {
            "model": {"spec": model, "dtype": "float32", "compile": False, "ema": None},
            "loss": {"loss": "CrossEntropy(label_smoothing=0.05)", "class_weights": None},
            "optimization": {
                "optimizer": f"AdamW(lr={lr}, weight_decay=0.01)",
                "schedule": "WarmupCosine(warmup_steps=50)", "epochs": epochs, "batch_size": 32,
                "grad_clip_norm": 1.0, "augment": "Chain(Crop(padding=1))", "seed": 0,
            },
        },
        "data": {
            "source": "digits", "fingerprint": "sha256:5f1c0f6e9a2b7d43",
            "how": {"mode": "stratified", "fraction": 0.2, "seed": 0},
            "counts": {"train": 1149, "valid": 288, "test": 360},
        },
        "schema": {
            "kind": "images", "input_shape": [1, 8, 8], "target_kind": "class",
            "class_names": list(class_names), "columns": [], "target_name": "digit",
        },
        "versions": {"python": "3.11.9", "torch": "2.8.0", "numpy": "2.1.0"},
        "machine": {"cpu": "Example CPU, 2 cores", "memory": "8 GiB", "device": "cpu"},
    }  # fmt: skip


def write_metrics(
    folder: Path, *, epochs: int, top: float, lr: float, seed: int, planned: int | None = None
) -> None:
    """Write metrics.jsonl: 36 steps per epoch and one line per epoch."""
    random = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    total = epochs * 36
    for step in range(1, total + 1):
        warm = min(1.0, step / 50)
        rate = lr * warm * 0.5 * (1 + math.cos(math.pi * step / (36 * (planned or epochs))))
        loss = (2.3 * math.exp(-step / 110) + 0.05) * float(random.lognormal(0, 0.35))
        rows.append({"kind": "step", "step": step, "epoch": (step - 1) // 36 + 1,
                     "loss": loss, "lr": rate})  # fmt: skip
        if step % 36 == 0:
            epoch = step // 36
            fade = math.exp(-epoch / 3.1)
            jitter = float(random.normal(0, 0.004))
            rows.append({
                "kind": "epoch", "epoch": epoch, "step": step,
                "train": {"loss": 2.3 * fade + 0.05 - 0.0005 * epoch},
                "valid": {"loss": 2.2 * fade + 0.08 + 0.0009 * epoch + jitter,
                          "accuracy": min(1.0, top * (1 - 0.85 * fade) + jitter)},
                "seconds": 1.39 + jitter, "examples_per_second": 24800 + 100 * jitter,
            })  # fmt: skip
    write_lines(folder, rows)


def per_class(confusion: NDArray[np.int_], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Give the per-class rows of evaluation.json."""
    rows = []
    for index, name in enumerate(names):
        hits, support = int(confusion[index, index]), int(confusion[index].sum())
        guessed = int(confusion[:, index].sum())
        recall, precision = hits / max(1, support), hits / max(1, guessed)
        half = 1.96 * math.sqrt(recall * (1 - recall) / max(1, support)) + 1 / max(1, support)
        rows.append({
            "name": name, "precision": precision, "recall": recall, "support": support,
            "f1": 2 * precision * recall / max(1e-9, precision + recall),
            "recall_low": max(0.0, recall - half), "recall_high": min(1.0, recall + half),
        })  # fmt: skip
    return rows


def examples(
    target: NDArray[np.int_], prediction: NDArray[np.int_], names: tuple[str, ...],
    random: np.random.Generator, pictures: bool,
) -> list[dict[str, Any]]:  # fmt: skip
    """Give the worst errors of evaluation.json."""
    rows = np.flatnonzero(target != prediction)[:18]
    sure = np.sort(random.uniform(0.55, 0.999, len(rows)))[::-1]
    return [
        {
            "id": f"{row:05d}", "target": names[target[row]], "prediction": names[prediction[row]],
            "probability": float(p), "target_probability": float((1 - p) / 2), "row": {},
            "picture": digit_png(int(target[row]), random) if pictures else None,
        }
        for row, p in zip(rows, sure, strict=True)
    ]  # fmt: skip


def calibration_record(target: NDArray[np.int_], prediction: NDArray[np.int_]) -> dict[str, Any]:
    """Give the calibration of evaluation.json: everything is answered with 90% or 95%."""
    right = int((target == prediction)[::2].sum()), int((target == prediction)[1::2].sum())
    sizes = len(target[::2]), len(target[1::2])
    bins = [
        {"low": low, "high": low + 0.1, "count": size, "correct": hits, "confidence": sure,
         "accuracy": hits / size if size else None}
        for low, size, hits, sure in (
            (0.0, 0, 0, None), (0.8, sizes[0], right[0], 0.9), (0.9, sizes[1], right[1], 0.95)
        )
    ]  # fmt: skip
    plain = {"count": len(target), "confidence": 0.925, "accuracy": sum(right) / len(target),
             "ece": 0.031, "ece_interval": [0.0, 0.07], "bins": bins}  # fmt: skip
    return {
        **plain,
        "scaled": {**plain, "ece": 0.012, "ece_interval": [0.0, 0.05]},
        "temperature": {"value": 1.618, "fitted_on": 288, "loss_before": 0.41, "loss_after": 0.3},
        "conformal": {
            "alpha": 0.1, "threshold": 0.6, "fitted_on": 288, "count": 360, "covered": 324,
            "coverage": 0.9, "coverage_interval": [0.865, 0.927], "mean_size": 1.25, "empty": 0.0,
            "several": 0.21, "sure_accuracy": 0.95, "abstained": 0.21,
        },
    }  # fmt: skip


def sheet(names: tuple[str, ...], random: np.random.Generator) -> dict[str, Any]:
    """Give the contact sheet of data.json, at most 24 rows."""
    rows = [
        {"label": name, "count": 9, "shown": 1, "picture": digit_png(k, random)}
        for k, name in enumerate(names[:24])
    ]
    return {"across": 4, "rows": rows, "more": len(names) - len(rows)}


def numbers_record(name: str, low: float, missing: int = 0) -> dict[str, Any]:
    """Give a column of numbers of data.json."""
    return {
        "name": name, "kind": "number", "rows": 300, "missing": missing, "low": low,
        "quarter": 2 * low, "median": 3 * low, "three_quarters": 4 * low, "high": 5 * low,
        "mean": 3.1 * low, "std": low, "bins": [1, 4, 9, 4, 0, 1],
    }  # fmt: skip


def digit_png(target: int, random: np.random.Generator) -> str:
    """Give a real 8x8 digit as base64 PNG."""
    from PIL import Image
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    row = random.choice(np.flatnonzero(labels == target % 10))
    pixels = 255 - (images[row].reshape(8, 8) / 16 * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def write(folder: Path, name: str, value: dict[str, Any]) -> None:
    """Write one JSON record."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def write_lines(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write metrics.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
