"""Readers of the small sets whose files come with scikit-learn; scikit-learn is not imported.

Importing it would add a second to every start, and its loaders give these very files.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..core.errors import DataError
from ._builtin_source import Files, Source, images, numbers

IRIS = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
WINE = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)
_NUCLEUS = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
BREAST_CANCER = (
    *(f"mean {name}" for name in _NUCLEUS),
    *(f"{name} error" for name in _NUCLEUS),
    *(f"worst {name}" for name in _NUCLEUS),
)
DIABETES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def load_digits(files: Files) -> Source:
    """Read 8x8 digits; the counts 0..16 of the file become the gray values 0..255.

    Args:
        files: Not used; the file comes with scikit-learn.

    Checked against: scikit-learn load_digits.
    """
    raw = gzip.decompress(_embedded("digits.csv.gz").read_bytes())
    rows = np.fromstring(raw.decode().replace("\n", ","), dtype=np.int64, sep=",").reshape(-1, 65)
    counts = rows[:, :64].reshape(-1, 1, 8, 8)
    gray = ((counts * 255 + 8) // 16).astype(np.uint8)  # rounded; 17 counts keep 17 gray values
    return Source(examples=images(gray, rows[:, 64], [str(digit) for digit in range(10)]))


def load_iris(files: Files) -> Source:
    """Read the iris flowers.

    Args:
        files: Not used; the file comes with scikit-learn.

    Checked against: scikit-learn load_iris.
    """
    return _classes("iris.csv", IRIS, "species")


def load_wine(files: Files) -> Source:
    """Read the wines.

    Args:
        files: Not used; the file comes with scikit-learn.

    Checked against: scikit-learn load_wine.
    """
    return _classes("wine_data.csv", WINE, "cultivar")


def load_breast_cancer(files: Files) -> Source:
    """Read the breast tumours.

    Args:
        files: Not used; the file comes with scikit-learn.

    Checked against: scikit-learn load_breast_cancer.
    """
    return _classes("breast_cancer.csv", BREAST_CANCER, "diagnosis")


def load_diabetes(files: Files) -> Source:
    """Read the diabetes patients, with features as they were measured rather than scaled.

    Args:
        files: Not used; the files come with scikit-learn.

    Checked against: scikit-learn load_diabetes(scaled=False).
    """
    values = _floats("diabetes_data_raw.csv.gz").reshape(-1, len(DIABETES))
    targets = _floats("diabetes_target.csv.gz")
    return Source(examples=numbers(values, targets, DIABETES, target_name="progression"))


def _embedded(name: str) -> Path:
    spec = importlib.util.find_spec("sklearn")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / "datasets" / "data" / name
        if path.is_file():
            return path
    raise DataError(
        f"data: the file {name} comes with scikit-learn, which is not installed or has moved it."
        " Run: pip install scikit-learn"
    )


def _classes(file: str, names: tuple[str, ...], target_name: str) -> Source:
    """Read the form of scikit-learn: a header of counts and class names, then rows."""
    header, _, body = _embedded(file).read_text(encoding="utf-8").partition("\n")
    rows = np.loadtxt(body.splitlines(), delimiter=",", ndmin=2)
    class_names = header.strip().split(",")[2:]
    return Source(
        examples=numbers(
            rows[:, :-1], rows[:, -1], names, class_names=class_names, target_name=target_name
        )
    )


def _floats(file: str) -> npt.NDArray[np.float64]:
    text = gzip.decompress(_embedded(file).read_bytes()).decode()
    return np.array(text.split(), dtype=np.float64)
