"""Checkpoints that do not fit the model, and files that hold something else than weights."""

from __future__ import annotations

import re

from ._explanation import Explanation, Rule
from ._scene import Scene

_LISTED = 3
_WRAPPERS = {
    "module.": "nn.DataParallel or DistributedDataParallel put",
    "_orig_mod.": "torch.compile put",
}
_INSIDE = ("state_dict", "model_state_dict", "model", "net", "weights", "params")


def _keys(match: re.Match[str], scene: Scene) -> Explanation | None:
    text = scene.text
    missing, unknown = _named("Missing", text), _named("Unexpected", text)
    sized = re.findall(r"size mismatch for (\S+): .*?\(\[([^]]*)\]\).*?\(\[([^]]*)\]\)", text)
    parts = [
        _list(f"{len(missing)} missing", missing),
        _list(f"{len(unknown)} unknown", unknown),
        _list(f"{len(sized)} of another shape", [f"{n} ({a}) for ({b})" for n, a, b in sized]),
    ]
    cause = "the weights do not fit the model: " + "; ".join(part for part in parts if part)
    return scene.tell("weights", cause, _repair(missing, unknown, sized))


def _repair(missing: list[str], unknown: list[str], sized: list[tuple[str, str, str]]) -> str:
    inside = next((key for key in _INSIDE if key in unknown), None)
    if inside is not None:
        return f'The file holds more than weights: pass checkpoint["{inside}"].'
    prefix, who = _prefix(unknown, missing)
    if prefix:
        return (
            f"{who} '{prefix}' before every name: load"
            f' {{k.removeprefix("{prefix}"): v for k, v in state.items()}}.'
        )
    prefix, who = _prefix(missing, unknown)
    if prefix:
        inner = prefix.rstrip(".")
        return f"{who} '{prefix}' before the names of this model: load into model.{inner}."
    layers = {name.rpartition(".")[0] for name, _, _ in sized}
    if sized and len(layers) == 1 and not missing and not unknown:
        return (
            f"Only {layers.pop() or 'this layer'} differs, as with another number of classes: build"
            " the model as it was trained, or delete these names and use strict=False."
        )
    return "Build the model with the settings it was trained with."


def _prefix(longer: list[str], shorter: list[str]) -> tuple[str, str]:
    """Give what one list of names has before each name of the other, and who put it there."""
    if not longer or not shorter:
        return "", ""
    prefix = min(longer).rpartition(".")[0] + "."
    while prefix:
        if {name.removeprefix(prefix) for name in longer} == set(shorter):
            return prefix, _WRAPPERS.get(prefix, "A module around it puts")
        prefix = prefix[: prefix[:-1].rfind(".") + 1]
    return "", ""


def _named(which: str, text: str) -> list[str]:
    found = re.search(rf"{which} key\(s\) in state_dict: (.*)", text)
    return re.findall(r'"([^"]+)"', found[1]) if found else []


def _list(title: str, names: list[str]) -> str:
    more = ", ..." if len(names) > _LISTED else ""
    return f"{title} ({', '.join(names[:_LISTED])}{more})" if names else ""


def _not_a_dict(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = f"weights are a dict of tensors by name; this is a {match[1].rpartition('.')[2]}"
    return scene.tell("weights", cause, "Pass model.state_dict(), or what torch.load gave.")


def _optimizer(match: re.Match[str], scene: Scene) -> Explanation | None:
    cause = "the state of the optimizer is that of a model with other parameters"
    fix = "Build model and optimizer as they were when it was saved, then load."
    return scene.tell("weights", cause, fix)


def _pickle(match: re.Match[str], scene: Scene) -> Explanation | None:
    found = re.search(r"GLOBAL (\S+)", scene.text)
    held = f" of the class {found[1]}" if found else ""
    return scene.tell(
        "weights",
        f"the file holds Python objects{held}, and loading those can run any code",
        "Save weights alone, torch.save(model.state_dict(), path), or safetensors; use"
        " weights_only=False only on a file that you made.",
    )


RULES: tuple[Rule, ...] = (
    (r"Error\(s\) in loading state_dict for (\w+)", _keys),
    (r"Expected state_dict to be dict-like, got <class '([\w.]+)'>", _not_a_dict),
    (r"loaded state dict (?:contains a parameter group|has a different number)", _optimizer),
    (r"Weights only load failed", _pickle),
)
