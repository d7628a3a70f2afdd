"""The table of verbs: what to type, the function it runs, one line of help, its heading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Verb:
    """One line of the table.

    Args:
        words: What the user types after `fitwell`, one word or two.
        target: The function, ``module:name``; imported only when the verb is used.
        help: One line.
        group: Heading it stands under in ``fitwell --help``.
    """

    words: str
    target: str
    help: str
    group: str


def _verbs(group: str, *lines: tuple[str, str, str]) -> tuple[Verb, ...]:
    return tuple(
        Verb(words=words, target=f"fitwell.verbs.{target}", help=text, group=group)
        for words, target, text in lines
    )


TABLE: tuple[Verb, ...] = (
    *_verbs(
        "Train",
        ("train", "_train:train", "train a model on a data set, a folder or a table"),
        ("resume", "_resume:resume", "go on with a run that was stopped"),
        ("crossval", "_several:crossval", "train on all folds but one, each in turn"),
        ("ensemble", "_several:ensemble", "let several runs answer as one"),
        ("baselines", "_several:baselines", "measure simple models on the same parts"),
        ("sweep", "_sweep:sweep", "try many settings; say which is best and what mattered"),
    ),
    *_verbs(
        "Use a run",
        ("evaluate", "_evaluate:evaluate", "measure a run on one of its parts or on new data"),
        ("predict", "_predict:predict", "write predictions.csv for new data"),
        ("check-submission", "_submission:check_submission", "compare predictions with a sample"),
        ("average", "_average:average", "average the weights of runs into a new run"),
        ("export", "_export:export", "write the model as safetensors, ONNX or torch.export"),
        ("report", "_report:report", "write one HTML page about a run"),
        ("compare", "_compare:compare", "put settings and results of runs side by side"),
        ("ui", "_ui:ui", "show the runs of a folder in the browser, live"),
    ),
    *_verbs(
        "Look inside a run",
        ("probe", "_probe:probe", "ask by an experiment what is wrong with a model or its data"),
        ("surface", "_surface:surface", "draw the loss around a run, on its way, or between runs"),
    ),
    *_verbs(
        "Check a program",
        ("lint", "_lint:lint", "name the bugs in training programs without running them"),
    ),
    *_verbs(
        "Data",
        ("data list", "_data:list_data", "list the built-in data sets"),
        ("data show", "_data:show_data", "show counts, shapes, classes and licence of a data set"),
        ("data get", "_data:get_data", "download a data set and check its sha256"),
        ("data stage", "_data:stage", "copy an archive or a folder to a fast local disk"),
        ("data speed", "_data:speed", "measure how fast disks read and write"),
    ),
    *_verbs(
        "Look things up",
        ("list", "_lookup:list_runs", "list the runs in ./runs or another folder"),
        ("list methods", "_lookup:list_methods", "list the methods, of one family or of all"),
        ("show", "_lookup:show", "show the card of a method, or the state of a run"),
        ("env", "_env:env", "show versions, processor, memory, GPUs; say what does not fit"),
        ("cite", "_lookup:cite", "print BibTeX for methods, for runs, or for fitwell"),
        ("coverage", "_lookup:coverage", "count what works of the course, by chapter"),
    ),
)

EXAMPLES = """\
  fitwell train digits                        1,797 small images; done in seconds
  fitwell train images photos/ --epochs 20    one subfolder per class
  fitwell train table houses.csv --target price
  fitwell predict runs/NAME new.csv           writes runs/NAME/predictions.csv
  fitwell show optim.AdamW                    what it does, formula, source
"""
