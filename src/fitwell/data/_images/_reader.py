"""The steps of reading images: find the files, give them labels, leave out the bad, decode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, final

from ...core.errors import DataError
from .._bad_rows import BadRows
from . import _listing as listing
from ._cache import ImageCache
from ._form import ImageChannels, choose_form, no_good_images, report_odd
from ._labels import Labels, read_labels
from ._listing import ImageFile
from ._named import has_named_labels, label_known, list_named
from ._pixels import Entry, Form

_MESSAGES_KEPT = 20  # of rows that were left out


class Row(NamedTuple):
    """An image that was decoded: row `position` of `entry`."""

    file: ImageFile
    entry: Entry
    position: int


Source = tuple[Path, list[ImageFile]]


@final
@dataclass
class Reader:
    """Lists, labels and decodes; collects what was left out and what is worth a note.

    Args:
        bad: Where bad files and rows are reported.
        workers: Threads that decode; None is one per processor.
        cache: Folder of the decoded images; None is the one of fitwell.
        progress: Told how many images are decoded, of how many.
        others: Counts files that are no images, by extension.
        notes: What else was left out.
    """

    bad: BadRows
    workers: int | None
    cache: Path | None
    progress: Callable[[int, int], None] | None = None
    others: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def find(self, root: Path, part: str, with_labels: bool) -> list[ImageFile]:
        """List the labelled images of a folder; all images if labels come from a file."""
        listing.check_folder(root, "path" if part == "train" else f"{part}_path")
        top = listing.scan(root, Counter())
        given = listing.part_folders(top) if part == "train" else {}
        if with_labels:
            folders = {folder.name: name for name, folder in given.items()}
            files = [
                replace(file, part=folders.get(file.name.split("/")[0], part))
                for file in listing.walk(root, root, Counter())
            ]
        elif given:
            files = self._find_parts(root, given)
        else:
            listing.check_not_wrapped(top)
            files = self._classes(root, top, part)
        if not files:
            raise listing.no_class_folders(root, top, self.others)
        return files

    def _classes(self, root: Path, top: listing.Folder, part: str) -> list[ImageFile]:
        """List a folder of class folders, or of images that bear their class in their names."""
        files = listing.list_classes(root, top.path, part, self.bad, self.others)
        if has_named_labels(top):
            files = list_named(root, top, part, self.bad)
            self.notes.append(f"Classes of {top.path} are the numbers that the names begin with.")
        return files

    def _find_parts(self, root: Path, given: Mapping[str, Path]) -> list[ImageFile]:
        files: list[ImageFile] = []
        for part in ("train", "valid", "test"):
            if part not in given:
                continue
            top = listing.scan(given[part], Counter())
            if part == "test" and not top.folders and not has_named_labels(top):
                self.notes.append(f"Left out {given[part]}: its images have no labels.")
                continue
            some = self._classes(root, top, part)
            if not some:
                raise listing.no_class_folders(given[part], top, self.others)
            files += some
        return files

    def find_known(
        self, root: Path, class_names: Sequence[str], with_labels: bool
    ) -> list[ImageFile]:
        """List the images of a folder, labelled if a subfolder has the name of a class."""
        listing.check_folder(root, "path")
        top = listing.scan(root, Counter())
        given = listing.part_folders(top)
        if given and not with_labels:
            raise DataError(
                f"{root}: the folder is divided into {', '.join(f.name for f in given.values())}."
                f" Give one of them, such as {next(reversed(given.values()))}."
            )
        named = any(entry.name in class_names for entry in top.folders)
        if named and not with_labels:
            files = listing.list_classes(root, root, "", self.bad, self.others)
        else:
            files = list(listing.walk(root, root, self.others))
            if not top.folders and not with_labels:
                files = label_known(files, class_names)
            if top.folders and not with_labels:
                self.notes.append("No subfolder is named as a class: the images have no labels.")
        if not files:
            raise listing.no_images(root, self.others)
        return files

    def label(
        self, sources: Sequence[Source], path: Path, split_by: str | None
    ) -> tuple[list[Source], Labels]:
        """Give every image its label; report images without one, but not a whole part."""
        every = [file for _, files in sources for file in files]
        found = read_labels(path, every, split_by, self.bad)
        named = {file.part for file in every if file.path in found.labels}
        labelled: list[Source] = []
        for root, files in sources:
            kept: list[ImageFile] = []
            labelled.append((root, kept))
            for file in files:
                if file.path in found.labels:
                    kept.append(replace(file, label=found.labels[file.path]))
                elif file.part in named and file.path not in found.refused:
                    problem = f"is an image without a label in {path}"
                    self.bad.report(file.path, None, problem, "Add a row for it or remove it.")
        for part in sorted({file.part for file in every} - named):
            self.notes.append(f"Left out the images of the {part} part: {path} does not name them.")
        return labelled, found

    def settle(
        self, root: Path, files: Sequence[ImageFile], stratify: bool
    ) -> tuple[set[str], tuple[str, ...]]:
        """Give the paths of the images to use, and the names of the classes."""
        counts = Counter(str(file.label) for file in files if file.part == "train")
        lonely = {name for name, count in counts.items() if count == 1}
        if stratify and all(file.part != "valid" for file in files):
            for file in files:
                if file.label in lonely and file.part == "train":
                    problem = (
                        f"is the only image of class {file.label!r}, which has to be in both"
                        " training and validation"
                    )
                    remedy = "Add images of it, remove it, or draw at random: --split random."
                    self.bad.report(file.path, None, problem, remedy)
            files = [f for f in files if not (f.label in lonely and f.part == "train")]
            counts = Counter({k: v for k, v in counts.items() if k not in lonely})
        if not files:
            raise no_good_images(root, self.bad)
        names = tuple(sorted(counts, key=listing.natural))
        if len(names) < 2:
            raise DataError(
                f"{root}: there must be images of at least two classes to tell apart; got"
                f" {', '.join(map(repr, names)) or 'none'}. Add images of another class."
            )
        return {file.path for file in self.only_known(files, names)}, names

    def only_known(self, files: Sequence[ImageFile], class_names: Sequence[str]) -> list[ImageFile]:
        """Leave out the images whose label no training image has."""
        known = set(class_names)
        some = ", ".join(class_names[:5]) + (", ..." if len(class_names) > 5 else "")
        for file in files:
            if file.label not in known:
                problem = f"has the label {file.label!r}, which no training image has ({some})"
                remedy = "Correct the label, or add such images to the training part."
                self.bad.report(file.path, None, problem, remedy)
        return [file for file in files if file.label in known]

    def decode_all(
        self,
        sources: Sequence[Source],
        image_size: tuple[int, int] | None,
        channels: ImageChannels,
    ) -> tuple[list[Row], Form, str]:
        """Give the good images of all folders, in the form that the first one asks for."""
        (root, files), *others = sources
        if not files:
            raise no_good_images(root, self.bad)
        rows, form, why = self.decode(root, files, None, image_size, channels)
        for root, files in others:
            if files:
                rows += self.decode(root, files, form)[0]
        return rows, form, why

    def decode(
        self,
        root: Path,
        files: Sequence[ImageFile],
        form: Form | None,
        image_size: tuple[int, int] | None = None,
        channels: ImageChannels = "auto",
    ) -> tuple[list[Row], Form, str]:
        """Give the good images of a folder; without a form, choose one and say why."""
        cache = ImageCache(
            root, files, folder=self.cache, workers=self.workers, progress=self.progress
        )
        why, strict = "", form is None and channels == "auto"
        if form is None:
            form, why = choose_form(cache, files, image_size, channels, self.bad)
        entry = cache.load(form, self.bad)
        good = [i for i in range(len(files)) if i not in entry.problems]
        rows = [Row(files[i], entry, position) for position, i in enumerate(good)]
        if strict:
            odd = {
                i
                for i, head in zip(good, cache.headers(good), strict=True)
                if head is not None and head.kind != form.channels
            }
            for i in sorted(odd):
                report_odd(files[i], form.channels, self.bad)
            rows = [row for row, i in zip(rows, good, strict=True) if i not in odd]
        if not rows:
            raise no_good_images(root, self.bad)
        return rows, form, why

    def summary(self) -> dict[str, Any]:
        """Give what was left out and noted, for the schema."""
        return {
            "skipped": self.bad.count,
            "bad_rows": self.bad.messages[:_MESSAGES_KEPT],
            "notes": [*self.notes, *listing.ignored(self.others)],
        }
