"""The dispatcher: finds the verb, reads its options, calls it, prints its result.

Results go to stdout, everything else to stderr. Exit codes: 0 done, 1 failed, 2 misuse,
130 stopped by Ctrl-C, 141 the reader of stdout went away.
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import importlib
import inspect
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..core.errors import DataError, FitwellError, UnknownName, UsageError
from ..core.files import finite
from ..core.processes import leave, tells_results
from ._verbs import EXAMPLES, TABLE, Verb

DONE, FAILED, MISUSE, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141


def run() -> NoReturn:
    """Run the command line of this process and end the process."""
    leave(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code.

    Args:
        argv: What the user typed after `fitwell`; None reads it from the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a class name must not end a run
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # so that the interpreter's flush is silent
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _dispatch(words: list[str]) -> int:
    if words and words[0] == "help":
        words = [*words[1:], "--help"]
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(overview())
        return DONE
    if words[0] in ("-V", "--version"):
        from .. import __version__

        sys.stdout.write(f"fitwell {__version__}\n")
        return DONE
    known = {verb.words: verb for verb in TABLE}
    for size in (2, 1):
        verb = known.get(" ".join(words[:size]))
        if verb is not None and len(words) >= size:
            return _run(verb, words[size:])
    return _not_a_verb(words, known)


def _not_a_verb(words: list[str], known: Mapping[str, Verb]) -> int:
    below = [verb for verb in TABLE if verb.words.startswith(words[0] + " ")]
    if below and (len(words) == 1 or words[1] in ("-h", "--help")):
        sys.stdout.write(f"usage: fitwell {words[0]} VERB ...\n\n{_lines(below)}")
        return DONE
    typed, options = words[0], {name.partition(" ")[0] for name in known}
    if below:
        typed, options = " ".join(words[:2]), {verb.words for verb in below}
    near = difflib.get_close_matches(typed.lower(), sorted(options), n=3, cutoff=0.5)
    hint = (
        f"nearest: {', '.join(map(repr, near))}" if near else f"known: {', '.join(sorted(options))}"
    )
    message = f"no verb named {typed!r}; {hint}. Run: fitwell --help"
    return _complain("", UnknownName(message), as_json="--json" in words)


def overview() -> str:
    """Give the text of ``fitwell --help``."""
    groups: dict[str, list[Verb]] = {}
    for verb in TABLE:
        groups.setdefault(verb.group, []).append(verb)
    parts = ["usage: fitwell VERB [arguments] [--options]\n"]
    parts.append(
        "Train neural networks and learn why they do not learn. A run is a folder that holds one\n"
        "training: resume it, measure it, predict with it, report on it.\n"
    )
    parts += [f"{group}\n{_lines(verbs)}" for group, verbs in groups.items()]
    parts.append(f"Examples\n{EXAMPLES}")
    parts.append(
        "Every verb has --help, --json (the result as one JSON object) and --debug. Methods are\n"
        'written as they are printed: --optimizer "AdamW(lr=0.001, weight_decay=0.01)".\n'
    )
    return "\n".join(parts)


def _lines(verbs: Sequence[Verb]) -> str:
    return "".join(f"  {verb.words:<18}{verb.help}\n" for verb in verbs)


def _run(verb: Verb, arguments: list[str]) -> int:
    as_json, debug = "--json" in arguments, "--debug" in arguments
    try:
        with _uncollected():
            function = load(verb)
            from ._arguments import Options

            options = Options.of(function)
            try:
                with _boxes_removed() if as_json else contextlib.nullcontext():
                    positional, keywords = options.read(arguments, prog=f"fitwell {verb.words}")
            except SystemExit as stop:  # help, or wrong options; tyro has said what
                return stop.code if isinstance(stop.code, int) else MISUSE
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            result = function(*positional, **keywords)
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        return _complain(verb.words, error, as_json=as_json, debug=debug)
    if tells_results():
        _tell(result, as_json=as_json)
    code = getattr(result, "exit_code", DONE)
    return code if isinstance(code, int) else DONE


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Hold the garbage collector while modules are imported, and spare it what they made.

    Importing torch makes so many objects that stay that looking through them again and again takes
    a tenth of the start.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


def load(verb: Verb) -> Callable[..., Any]:
    """Import the function of a verb.

    Args:
        verb: A line of the table.

    Raises:
        UsageError: This installation does not have the verb.
    """
    module, _, name = verb.target.partition(":")
    try:
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as err:
        if err.name != module:
            raise
        raise UsageError(f"this installation of fitwell has no module {module!r}.") from err
    return function


@contextlib.contextmanager
def _boxes_removed() -> Iterator[None]:
    """Turn what tyro draws about wrong options into a `UsageError` of one line."""
    drawn = io.StringIO()
    try:
        with contextlib.redirect_stderr(drawn):
            yield
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        lines = (line.strip("│╭╮╰╯─ ") for line in drawn.getvalue().splitlines())
        words = " ".join(line for line in lines if line)
        raise UsageError(re.sub(r"(?<=one of )\(([^)]*)\)", _sorted_choices, words)) from stop


def _sorted_choices(found: re.Match[str]) -> str:
    """Put choices in order, without the one that stands for an option that is left out."""
    names = sorted(name for name in re.findall(r"'([^']*)'", found[1]) if name != "None")
    return ", ".join(names)


def _tell(result: Any, *, as_json: bool) -> None:
    if as_json:
        value = finite(_plain(result))
        text = json.dumps(value, ensure_ascii=False, default=_plain)
    else:
        text = "" if result is None else str(result)
    if text:
        sys.stdout.write(text.rstrip("\n") + "\n")


def _plain(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):  # arrays and their scalars
        return value.tolist()
    if value is None or isinstance(value, Mapping):
        return value or {}
    return str(value)


def _complain(verb: str, error: BaseException, *, as_json: bool, debug: bool = False) -> int:
    if debug:
        traceback.print_exception(error)
    message, code = _message(verb, error)
    code = getattr(error, "exit_code", code)
    quiet = isinstance(error, KeyboardInterrupt) and not tells_results()
    if quiet or getattr(error, "told", False):
        return code
    sys.stderr.write(f"{f'fitwell {verb}'.strip()}: {message}\n")
    if as_json:
        kind = type(error).__name__
        sys.stdout.write(json.dumps({"error": {"kind": kind, "message": message}}) + "\n")
    return code


def _as_typed(words: str, text: str) -> str:
    """Write arguments of two words, such as `split_by`, as the options that they are typed as."""
    for verb in TABLE:
        module, _, target = verb.target.partition(":")
        if verb.words == words and module in sys.modules:
            function = getattr(sys.modules[module], target)
            for name, parameter in inspect.signature(function).parameters.items():
                if "_" in name and parameter.kind is parameter.KEYWORD_ONLY:
                    text = text.replace(f"`{name}`", f"`--{name.replace('_', '-')}`")
    return text


def _message(verb: str, error: BaseException) -> tuple[str, int]:
    text = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        return text or "stopped by Ctrl-C.", INTERRUPTED
    if isinstance(error, FitwellError):
        for owner in (f"fitwell {verb}: ", f"{verb}: ", f"{verb.replace('-', '_')}: "):
            text = text.removeprefix(owner)
        text = _as_typed(verb, text)
        misuse = isinstance(error, (UsageError, UnknownName, DataError))
        return text, MISUSE if misuse else FAILED
    if isinstance(error, MemoryError):
        return "out of memory. Use a smaller --batch-size or a smaller model.", FAILED
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.strerror}: {str(error.filename)!r}.", FAILED
    frame = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(frame[0].filename).name}:{frame[0].lineno})" if frame else ""
    kind = type(error).__name__
    return f"unexpected {kind}: {text}{where}. Add --debug for the traceback.", FAILED
