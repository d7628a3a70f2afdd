"""Tensors on different devices, and tensors of different types."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from ._explanation import Explanation, Rule, dtype_name
from ._scene import Scene, within_torch

_NAMES = {
    "byte": "uint8",
    "unsigned char": "uint8",
    "char": "int8",
    "signed char": "int8",
    "short": "int16",
    "int": "int32",
    "long": "int64",
    "half": "float16",
    "c10::half": "float16",
    "float": "float32",
    "double": "float64",
    "bfloat16": "bfloat16",
    "c10::bfloat16": "bfloat16",
}
_LOW = ("float16", "bfloat16")
_MEMORY = 'Give the model memory with model.to_empty(device="cpu"), then load its weights.'


def type_name(text: str) -> str:
    """Turn the names that torch's messages have for types into those that code has."""
    text = text.strip().removeprefix("torch.").removeprefix("cuda.").removesuffix("Tensor")
    return _NAMES.get(text.lower(), text)


def _devices(match: re.Match[str], scene: Scene) -> Explanation | None:
    devices = sorted({str(tensor.device) for tensor in scene.tensors.values()})
    named = [text.strip(" !.") for text in match.groups() if text]
    found = " and ".join(devices if len(devices) > 1 else dict.fromkeys(named))
    return scene.explain(
        "device", f"its tensors must be on one device{found and ', not ' + found}", _move(scene)
    )


def _move(scene: Scene) -> str:
    """Say what to move: the layer if it was left behind, else the input."""
    layer, own = scene.layer, []
    if layer is not None:
        own = sorted({str(p.device) for p in (*layer.parameters(), *layer.buffers())})
    if scene.knows_model and scene.model is not None and own:
        if scene.path is None:
            return (
                "The layer is not registered in the model, so model.to(device) does not reach it:"
                " keep layers as attributes, in nn.ModuleList or in nn.ModuleDict."
            )
        if len({p.device for p in scene.model.parameters()}) > 1:
            return "The model is on several devices: call model.to(device) after it is complete."
    if own == ["meta"]:
        return _MEMORY
    devices = [str(tensor.device) for tensor in scene.tensors.values()]
    place = own[0] if own else devices[0] if devices else ""
    for name, tensor in scene.tensors.items():
        if str(tensor.device) != place and name in scene.arguments:
            called = scene.called(name)
            return f'Move {name} to where the rest is: {called} = {called}.to("{place}").'
    if own and not within_torch(layer):
        return (
            "Make new tensors where the input is, torch.zeros(..., device=x.device), or keep them"
            " with register_buffer, which model.to(device) moves."
        )
    if len(scene.tensors) > 1 and own == []:
        one, other = [scene.called(name) for name in scene.tensors][:2]
        return f"Move one of them: {other} = {other}.to({one}.device)."
    return 'Move all to one device: model.to("cuda:0"), inputs.to("cuda:0"), targets.to("cuda:0").'


def _input_and_weight(match: re.Match[str], scene: Scene) -> Explanation | None:
    one, other = match[1], match[2]
    if one.startswith("torch.") and ("cuda" in one) != ("cuda" in other):
        where = {True: "the GPU", False: "the CPU"}
        cause = (
            f"its tensors must be on one device, not the input on {where['cuda' in one]} and the"
            f" layer on {where['cuda' in other]}"
        )
        return scene.explain("device", cause, _move(scene))
    return _dtypes(match, scene)


def _absent(match: re.Match[str], scene: Scene) -> Explanation | None:
    reason = match[0].rstrip(".")
    saved = "deserialize" in reason
    fix = 'Load with torch.load(path, map_location="cpu").' if saved else (
        'Use device = "cuda" if torch.cuda.is_available() else "cpu", or run `fitwell env` to see'
        " why torch finds no GPU."
    )  # fmt: skip
    return scene.tell("device", f"torch cannot use that device here ({reason})", fix)


def _meta(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.explain(
        "device",
        "a tensor is on the meta device, where tensors have shapes but no numbers",
        _MEMORY,
    )


def _to_numpy(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.explain(
        "gradient-missing" if "grad" in match[0] else "device",
        "NumPy takes only tensors that are on the CPU and outside of the graph",
        "Use tensor.detach().cpu().numpy().",
    )


def _dtypes(match: re.Match[str], scene: Scene) -> Explanation | None:
    one, other = type_name(match[1]), type_name(match[2])
    cause = f"its tensors must have one type, not {one} and {other}"
    return scene.explain("dtype", cause, _convert(scene, one, other))


def _mixed(match: re.Match[str], scene: Scene) -> Explanation | None:
    types = [dtype_name(tensor) for tensor in scene.tensors.values()]
    one = types[0] if types else ""
    other = next((name for name in types if name != one), "float32")
    cause = "its tensors must have one type" + (f", not {one} and {other}" if one else "")
    return scene.explain("dtype", cause, _convert(scene, one, other))


def _convert(scene: Scene, one: str, other: str) -> str:
    """Say how to make two types one.

    Args:
        scene: Where it happened.
        one: Type of the input, the first tensor of torch's message.
        other: Type of the weights, the second one.
    """
    if one in _LOW or other in _LOW:
        return (
            "Keep the weights in float32 and run the forward pass under"
            f' torch.autocast("{_device(scene)}", dtype=torch.{one if one in _LOW else other}),'
            f" or convert: {_named(scene, one)}.to(torch.{other})."
        )
    if one == "uint8":
        return f"Turn bytes into numbers from 0 to 1: {_named(scene, one)}.float() / 255."
    if {one, other} == {"float32", "float64"} and not (one == "float32" and scene.layer):
        return f"NumPy makes float64 and torch float32: {_named(scene, 'float64')}.float()."
    return f"Convert: {_named(scene, one)}.to(torch.{other})."


def _named(scene: Scene, dtype: str) -> str:
    """Give what the user calls the tensor of a type."""
    fitting = [n for n, t in scene.tensors.items() if dtype_name(t) == dtype and n != "weight"]
    return scene.called("input" if "input" in fitting or not fitting else fitting[0])


def _device(scene: Scene) -> str:
    return next((t.device.type for t in scene.tensors.values()), "cpu")


def _not_implemented(match: re.Match[str], scene: Scene) -> Explanation | None:
    kernel, kind = match[1], type_name(match[2])
    if kind in ("float32", "float64"):
        return None
    if kind in _LOW:
        fix = "Convert to float32 for this operation: x.float()."
        return scene.explain("dtype", f"{kernel} cannot compute with {kind}", fix)
    fix = _convert(scene, kind, "float32")
    if scene.in_loss:
        fix = "Pass outputs and targets as floats: outputs.float(), targets.float()."
    return scene.explain("dtype", f"{kernel} cannot compute with {kind}, only with floats", fix)


def _mean(match: re.Match[str], scene: Scene) -> Explanation | None:
    return scene.explain(
        "dtype", f"the mean of {type_name(match[1])} is not a whole number", "Use x.float().mean()."
    )


def _indices(match: re.Match[str], scene: Scene) -> Explanation | None:
    wrong = {k: t for k, t in scene.tensors.items() if t.dtype.is_floating_point and k != "weight"}
    whole = [integral(tensor) for tensor in wrong.values()]
    if not whole or None in whole:
        fix = "Pass x.long() if these are whole numbers, and use nn.Linear if they are not."
    elif all(whole):
        fix = f"Pass {scene.called(next(iter(wrong)))}.long()."
    else:
        fix = "Numbers cannot look up a row: use nn.Linear for them, or turn them into classes."
    return scene.explain("dtype", "indices must be whole numbers of type int64", fix)


def integral(tensor: Tensor) -> bool | None:
    """Say whether all values are whole numbers; None if they cannot be read.

    Args:
        tensor: Any tensor.
    """
    if _whole(tensor):
        return True
    try:
        return bool((tensor.isfinite() & (tensor == tensor.round())).all())
    except (RuntimeError, NotImplementedError):  # on the meta device, or after a CUDA error
        return None


def _whole(tensor: Tensor) -> bool:
    return not (tensor.dtype.is_floating_point or tensor.dtype is torch.complex64)


RULES: tuple[Rule, ...] = (
    (r"on the same device, but found at least two devices, (\S+) and (\S+)", _devices),
    (r"on the same device, but got \w+ is on (\S+), different from .* on (\S+)", _devices),
    (r"Tensor on device (\S+) is not on the expected device (\S+)", _devices),
    (r"same device, found input tensor at (\S+) and parameter tensor at (\S+)", _devices),
    (r"indices should be either on (\S+) or on the same device", _devices),
    (r"all tensors to be on the same device", _devices),
    (r"Input type \(([^)]+)\) and (?:weight|bias) type \(([^)]+)\)", _input_and_weight),
    (r"Torch not compiled with CUDA enabled", _absent),
    (r"Found no NVIDIA driver on your system", _absent),
    (r"invalid device ordinal", _absent),
    (r"Attempting to deserialize object on a CUDA\s+device", _absent),
    (r"Cannot copy out of meta tensor|cannot be called on meta tensors", _meta),
    (r"can't convert \S+ device type tensor to numpy", _to_numpy),
    (r"Can't call numpy\(\) on Tensor that requires grad", _to_numpy),
    (r"must have the same dtype, but got (?:input with dtype )?(\w+) and (?:\w+ )??(\w+)", _dtypes),
    (r"to have the same dtype, but got: (\w+) != (\w+)", _dtypes),
    (r"RNN input dtype \((\S+)\) does not match weight dtype \((\S+)\)", _dtypes),
    (r"mixed dtype \(CPU\)|expected scalar type \w+ but found \w+", _mixed),
    (r"indices' to have one of the following scalar types", _indices),
    (r"only applicable to index tensor|tensors used as indices must be long", _indices),
    (r"could not infer output dtype\..*Got: (\w+)", _mean),
    (r"\"(\w+)\" not implemented for '(\w+)'", _not_implemented),
)
