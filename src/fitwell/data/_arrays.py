"""Arrays as examples: NumPy, torch, pandas, and ``.npz`` files; nothing is ever unpickled.

Arrays that are maps of a file and larger than memory stay on disk, see `_stream`.

N examples, C channels, H W height width, F features, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core.errors import DataError, UsageError
from ._examples import Column, Examples, Kind, Schema, Splits, TargetKind
from ._splits import SplitMode
from ._stream import Arrays, DiskRows, Inputs, chunks, memory_budget, memory_limit, read_arrays
from ._table_rows import lonely, split_rows

_CHANNELS = (1, 2, 3, 4)


def load_arrays(
    inputs: Any,
    targets: Any = None,
    *,
    valid_arrays: Arrays | None = None,
    test_arrays: Arrays | None = None,
    class_names: Sequence[str] | None = None,
    target_kind: Literal["auto", "class", "number"] = "auto",
    mode: SplitMode | Literal["auto"] = "auto",
    split_by: Any = None,
    valid: float = 0.15,
    test: float = 0.15,
    seed: int = 0,
) -> Splits:
    """Take arrays to learn from, and cut them into parts where parts are not given.

    Inputs of type uint8 with three or four axes are images; numbers with two axes are a table;
    anything else becomes a float tensor. Integers, booleans and texts as targets are classes,
    floats are numbers. Maps of a file (``np.load(..., mmap_mode="r")``) larger than a quarter of
    memory stay on disk if they are images (N, H, W) or (N, C, H, W), or float32.

    Args:
        inputs: NumPy array, torch tensor or pandas frame, examples along the first axis: images
            (N, H, W), (N, C, H, W) or (N, H, W, C), tried in this order for C up to 4; a table
            (N, F). Or the path of an ``.npz`` file, or of a folder of ``.npy`` files, with arrays
            such as ``x`` and ``y``, or ``x_train``, ``y_train``, ``x_test`` and ``y_test``.
        targets: (N,) classes or numbers; None if `inputs` is a path.
        valid_arrays: Inputs and targets of the validation part; otherwise it is cut.
        test_arrays: Inputs and targets of the test part; otherwise it is cut.
        class_names: Names of classes 0, 1, ..., for targets that are such indices.
        target_kind: What the targets are.
        mode: How rows are drawn; ``auto`` is stratified for classes, random for numbers.
        split_by: (N,) groups or times, for the modes that go by them.
        valid: Share of the validation part, unless it is given.
        test: Share of the test part, unless it is given; 0 makes none.
        seed: Seed of the draw.

    Raises:
        UsageError: The arguments do not go together.
        DataError: A file or a value is bad; the message names it.
    """
    given: dict[str, Arrays] = {}
    if isinstance(inputs, (str, Path)):
        if targets is not None:
            raise UsageError(
                "load_arrays: `targets` must be left out when `inputs` is a path;"
                f" got {inputs!r} and targets. Put both into the file."
            )
        given = read_arrays(Path(inputs))
        inputs, targets = given.pop("train")
    for name, arrays in (("valid", valid_arrays), ("test", test_arrays)):
        if arrays is not None:
            given[name] = arrays
    whole = as_examples(
        inputs, targets, class_names=class_names, target_kind=target_kind, owner="load_arrays"
    )
    if whole.targets is not None and bool((whole.targets == whole.targets[0]).all()):
        raise DataError(
            "load_arrays: `targets` must differ to be learnt; got the same target in all"
            f" {len(whole)} rows. Give targets that differ."
        )
    shares = (0.0 if "valid" in given else valid, 0.0 if "test" in given else test)
    parts, how = _cut(whole, mode, split_by, shares, seed)
    if isinstance(whole.inputs, DiskRows):  # read in the order of the file
        parts = {name: np.sort(rows) for name, rows in parts.items()}
    made = {name: whole.select(torch.from_numpy(rows)) for name, rows in parts.items()}
    for name, (part_inputs, part_targets) in given.items():
        made[name] = _alike(name, part_inputs, part_targets, whole.schema)
    if given:
        how += "; given: " + ", ".join(given)
    return Splits(
        train=made["train"],
        valid=made["valid"],
        test=made.get("test"),
        indices={name: tuple(rows.tolist()) for name, rows in parts.items()},
        how=how,
    )


def _cut(
    whole: Examples,
    mode: SplitMode | Literal["auto"],
    split_by: Any,
    shares: tuple[float, float],
    seed: int,
) -> tuple[dict[str, npt.NDArray[np.int64]], str]:
    labels, keys = None, None
    if split_by is not None:
        keys = to_numpy(split_by, "load_arrays: `split_by`")
        if len(keys) != len(whole):
            raise UsageError(
                "load_arrays: `split_by` must have one entry per example;"
                f" got {len(keys)} for {len(whole)}. Give a group or time for each."
            )
    if whole.schema.target_kind == "class" and whole.targets is not None:
        labels = whole.targets.numpy()
        if mode in ("auto", "stratified"):
            names = whole.schema.class_names
            few, counts = lonely(labels, np.arange(len(labels)), *shares, classes=len(names))
            if few.any():
                row = int(np.flatnonzero(few)[0])
                raise DataError(
                    f"load_arrays: `targets`, row {row}: class {names[labels[row]]!r} has"
                    f" {counts[labels[row]]} of {len(labels)} examples, too few to be in every"
                    " part. Add examples of it, remove it, or split with mode 'random'."
                )
    return split_rows(
        len(whole), mode, valid=shares[0], test=shares[1], seed=seed, labels=labels, keys=keys
    )


def as_examples(
    inputs: Any,
    targets: Any,
    *,
    class_names: Sequence[str] | None = None,
    target_kind: Literal["auto", "class", "number"] = "auto",
    owner: str = "as_examples",
) -> Examples:
    """Take arrays as one set of examples, finding out what they are.

    Args:
        inputs: As for `load_arrays`.
        targets: (N,) classes or numbers.
        class_names: Names of classes 0, 1, ..., for targets that are such indices.
        target_kind: What the targets are.
        owner: Who asks, for messages.

    Raises:
        UsageError: Shapes or types do not fit.
        DataError: A value is NaN or infinite, or a label is unknown.
    """
    tensor, kind, headers = _inputs(inputs, owner)
    values = _flat(to_numpy(targets, f"{owner}: `targets`"), len(tensor), owner)
    found = _kind_of(values, target_kind, class_names)
    names: tuple[str, ...] = ()
    if found == "class":
        names = _names(values, class_names, owner)
    elif class_names:
        raise UsageError(
            f"{owner}: `class_names` must be left out for targets that are numbers; got"
            f" {len(class_names)} names. Make the targets integers."
        )
    schema = Schema(
        kind=kind,
        input_shape=tuple(tensor.shape[1:]),
        target_kind=found,
        class_names=names,
        columns=tuple(Column(name=name) for name in headers),
        source={"reader": "arrays", "indexed": bool(class_names)},
    )
    return Examples(inputs=tensor, targets=_targets(values, schema, owner), schema=schema)


def to_numpy(value: Any, what: str) -> npt.NDArray[Any]:
    """Give an array, tensor, frame or list as a NumPy array of numbers, booleans or texts.

    Args:
        value: What the user passed.
        what: Owner and argument, for messages.

    Raises:
        UsageError: It is none of these, or holds objects.
    """
    if value is None:
        raise UsageError(f"{what} must be an array; got None. Pass an array, tensor or frame.")
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
    array: npt.NDArray[Any]
    try:
        array = value.to_numpy() if hasattr(value, "to_numpy") else np.asarray(value)
    except (ValueError, TypeError) as err:
        raise UsageError(f"{what} must be a regular array; {err}. Make all rows alike.") from err
    if array.dtype.kind == "O":
        array = _of_objects(array, what)
    if array.dtype.kind == "S":
        array = array.astype(str)
    if array.dtype.kind not in "buifUT":
        raise UsageError(f"{what} must hold numbers or texts; got dtype {array.dtype}. Convert it.")
    return array


def _of_objects(array: npt.NDArray[Any], what: str) -> npt.NDArray[Any]:
    kinds = {type(item) for item in array.ravel()}
    if array.size and kinds <= {str, np.str_}:
        return array.astype(str)
    if array.size and kinds <= {int, float, bool, np.float64, np.int64, np.bool_}:
        return array.astype(np.float64 if kinds & {float, np.float64} else np.int64)
    shown = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise UsageError(
        f"{what} must hold numbers, or texts as targets; got objects ({shown})."
        " Write the table to a file and use `load_table`, or convert its columns."
    )


def _inputs(value: Any, owner: str) -> tuple[Inputs, Kind, list[str]]:
    array = to_numpy(value, f"{owner}: `inputs`")
    if array.dtype.kind not in "buif":
        raise UsageError(
            f"{owner}: `inputs` must hold numbers; got dtype {array.dtype}. Use `load_table` for"
            " texts and categories."
        )
    if array.ndim < 2 or 0 in array.shape:
        raise UsageError(
            f"{owner}: `inputs` must have shape (N, ...) with at least one feature and one example;"
            f" got {array.shape}. Reshape it, such as with inputs.reshape(-1, 1)."
        )
    tensor: Inputs | None = _on_disk(value, array, owner)
    if array.dtype == np.uint8 and array.ndim in (3, 4):
        tensor = torch.from_numpy(_images(array, owner)) if tensor is None else tensor
        return tensor, "images", []
    kind: Kind = "table" if array.ndim == 2 else "tensor"
    if tensor is None:
        with np.errstate(over="ignore"):
            tensor = torch.from_numpy(np.array(array, dtype=np.float32, order="C"))
    _check_finite(tensor, kind, owner)
    headers = [str(name) for name in getattr(value, "columns", [])] if kind == "table" else []
    if kind == "table" and not headers:
        headers = [f"x{i}" for i in range(array.shape[1])]
    return tensor, kind, headers


def _on_disk(value: Any, array: npt.NDArray[Any], owner: str) -> DiskRows | None:
    """Leave on disk what is too large for memory, if no value has to be changed."""
    images = array.dtype == np.uint8 and array.ndim in (3, 4)
    needed = array.size * (1 if images else 4)
    if needed <= memory_budget():
        return None
    rows = DiskRows.of(value if isinstance(value, Tensor) else array)
    if rows is not None and images and array.ndim == 3:
        return replace(rows, row_shape=(1, *rows.row_shape))
    if rows is not None and (rows.row_shape[0] in _CHANNELS if images else array.dtype == "f4"):
        return rows
    if needed > memory_limit():
        raise UsageError(
            f"{owner}: `inputs` must fit in memory, or lie in a file as float32 or as uint8 images"
            f" (N, C, H, W); got {array.dtype} {array.shape}, {needed / 2**30:.1f} GiB in memory."
            " Write them so, some rows at a time, with np.lib.format.open_memmap."
        )
    return None


def _check_finite(inputs: Inputs, kind: Kind, owner: str) -> None:
    start = 0
    for part in chunks(inputs, 65536):
        # A table's model fills in what is missing; nothing does so for other tensors.
        wrong = part.isinf() if kind == "table" else ~part.isfinite()
        if bool(wrong.any()):
            place = wrong.nonzero()[0].tolist()
            raise DataError(
                f"{owner}: `inputs`, row {start + place[0]}: the value at {place[1:]} is"
                f" {part[tuple(place)].item()}. Remove the row or correct the value."
            )
        start += len(part)


def _images(array: npt.NDArray[np.uint8], owner: str) -> npt.NDArray[np.uint8]:
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[1] not in _CHANNELS:
        if array.shape[3] not in _CHANNELS:
            raise UsageError(
                f"{owner}: `inputs` must have 1 to 4 channels on the second or the last axis;"
                f" got shape {array.shape}. Move the channels there, or pass floats."
            )
        array = array.transpose(0, 3, 1, 2)
    return np.array(array, order="C")


def _flat(array: npt.NDArray[Any], count: int, owner: str) -> npt.NDArray[Any]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise UsageError(
            f"{owner}: `targets` must have shape (N,); got {array.shape}."
            " For one-hot rows pass targets.argmax(axis=1)."
        )
    if len(array) != count:
        raise UsageError(
            f"{owner}: `targets` must have one entry per example; got {len(array)} for {count}"
            " inputs. Pass both for the same examples."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(f"{owner}: `targets`, row {row}: the target is {array[row]}. Remove it.")
    return array


def _kind_of(
    values: npt.NDArray[Any], wanted: str, class_names: Sequence[str] | None
) -> TargetKind:
    if wanted == "auto":
        return "number" if values.dtype.kind == "f" and not class_names else "class"
    return "class" if wanted == "class" else "number"


def _names(
    values: npt.NDArray[Any], class_names: Sequence[str] | None, owner: str
) -> tuple[str, ...]:
    if class_names:
        return tuple(map(str, class_names))
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        raise UsageError(
            f"{owner}: `targets` must be whole numbers or texts to be classes; got"
            f" {values[values != np.floor(values)][0]}. Use target_kind='number'."
        )
    whole = values.astype(np.int64) if values.dtype.kind == "f" else values
    return tuple(str(value) for value in np.unique(whole))


def _targets(values: npt.NDArray[Any], schema: Schema, owner: str) -> Tensor:
    """Give targets as the schema wants them."""
    if schema.target_kind == "number":
        if values.dtype.kind not in "buif":
            raise UsageError(
                f"{owner}: `targets` must be numbers; got {values[0]!r}. Use target_kind='class'."
            )
        return torch.from_numpy(values.astype(np.float32))
    names = schema.class_names
    if schema.source["indexed"] and values.dtype.kind in "uif":
        wrong = (values < 0) | (values >= len(names)) | (values != np.floor(values))
        codes = np.where(wrong, 0, values).astype(np.int64)
    else:
        whole = values.astype(np.int64) if values.dtype.kind == "f" else values
        distinct, places = np.unique(whole, return_inverse=True)
        known = {name: code for code, name in enumerate(names)}
        table = np.array([known.get(str(value), -1) for value in distinct], dtype=np.int64)
        codes = table[places]
        wrong = codes < 0
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        shown = ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
        raise DataError(
            f"{owner}: `targets`, row {row}: the label {values[row]!s} is none of the"
            f" {len(names)} classes {shown}. Correct it or remove the row."
        )
    return torch.from_numpy(codes)


def _alike(name: str, inputs: Any, targets: Any, schema: Schema) -> Examples:
    """Take a given part with the schema of the training arrays."""
    owner = f"load_arrays: {name} part"
    tensor, kind, _ = _inputs(inputs, owner)
    if kind != schema.kind or tuple(tensor.shape[1:]) != schema.input_shape:
        raise UsageError(
            f"{owner}: `inputs` must be {schema.kind} of shape (N, *{schema.input_shape}) as for"
            f" training; got {kind} of shape {tuple(tensor.shape)}. Prepare both alike."
        )
    values = _flat(to_numpy(targets, f"{owner}: `targets`"), len(tensor), owner)
    return Examples(inputs=tensor, targets=_targets(values, schema, owner), schema=schema)
