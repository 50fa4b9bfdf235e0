"""Images: scikit-learn's small digits, and the 28 x 28 sets in the MNIST format."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn import datasets as sklearn_datasets
from torch import Tensor

from zoo.datasets.data import Data, Split
from zoo.datasets.files import Missing, fetch, find
from zoo.datasets.tables import permuted

DIGITS = tuple("0123456789")


def digits(seed: int) -> Data:
    """8 x 8 digits, levels 0..16, event shape [1, 8, 8]; 1,347 train and 450 test rows."""
    bunch = sklearn_datasets.load_digits()
    x = torch.tensor(bunch.images, dtype=torch.long).unsqueeze(1)
    y = torch.tensor(bunch.target, dtype=torch.long)
    first, last = permuted(len(x), 1347, seed)
    return Data(
        name="digits",
        description=DESCRIPTIONS["digits"],
        train=Split(x[first], y[first]),
        test=Split(x[last], y[last]),
        levels=17,
        threshold=7.5,
        value_range=(0, 16),
        class_names=DIGITS,
    )


@dataclass(frozen=True)
class Idx:
    """A set in the MNIST format: mirrors, class names and the checksum of each of its four files."""

    mirrors: tuple[str, ...]
    class_names: tuple[str, ...]
    checksums: Mapping[str, str]


IDX = {
    "mnist": Idx(
        (
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
        ),
        DIGITS,
        {
            "train-images-idx3": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion_mnist": Idx(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        (
            "T-shirt",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
        {
            "train-images-idx3": "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1": "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3": "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1": "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
}
DESCRIPTIONS = {
    "digits": "1,797 handwritten digits of 8 x 8 pixels, levels 0..16 (scikit-learn)",
    "mnist": "70,000 handwritten digits of 28 x 28 pixels, levels 0..255 (ZOO_DATA or download)",
    "fashion_mnist": "70,000 pictures of clothes, 28 x 28 pixels, levels 0..255 (ZOO_DATA or download)",
    "binarized_mnist": "MNIST of 0 and 1, Larochelle's 50,000 / 10,000 / 10,000 rows (ZOO_DATA or download)",
}


def idx_set(name: str) -> Data:
    """A set in the MNIST format, split as published: bytes of shape [1, 28, 28]."""
    kind = IDX[name]

    def part(stem: str) -> Tensor:
        file = f"{stem}-ubyte.gz"
        return read_idx(fetch(name, file, [mirror + file for mirror in kind.mirrors], kind.checksums[stem]))

    def split(start: str) -> Split:
        return Split(part(f"{start}-images-idx3").unsqueeze(1), part(f"{start}-labels-idx1").long())

    return Data(
        name=name,
        description=DESCRIPTIONS[name],
        train=split("train"),
        test=split("t10k"),
        levels=256,
        value_range=(0, 255),
        class_names=kind.class_names,
    )


def read_idx(path: Path) -> Tensor:
    """The bytes of an idx file (gzip), in the shape that its head declares."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a whole gzip file ({error}): fetch it again") from error
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = np.frombuffer(content[4 : 4 + 4 * axes], ">u4").astype(int).tolist() if axes else []
    values = np.frombuffer(content[4 + 4 * axes :], np.uint8)
    if not axes or len(shape) != axes or values.size != np.prod(shape):
        raise ValueError(f"{path} is no idx file of bytes: its head says {shape}, it holds {values.size} values")
    return torch.from_numpy(values.reshape(shape).copy())


AMAT = "https://raw.githubusercontent.com/mingzhang-yin/ARM-gradient/bac893cfcec486bbd00b755b12cf8402053b0e84/"
PACKED = {
    "train": "727146c35424b019f3e350e1e69faa05644a0abaf787e3f4e1a9632220a13906",
    "valid": "a256ac44ae26be720fad8616a05ed6ecfd1619930d9a208379bb2a4405df5b6d",
    "test": "9fcd8da6f0fdf09b2ba30fe63a0bb784042a0de82563172530229b983e294ff2",
}
"""The sha256 of each split, its rows packed eight bits to a byte."""


def binarized_mnist() -> Data:
    """Statically binarised MNIST, bytes 0 and 1 of shape [1, 28, 28].

    References:
        On the quantitative analysis of deep belief networks (Salakhutdinov and Murray, 2008)
        The neural autoregressive distribution estimator (Larochelle and Murray, 2011)
    """
    archive = find("binarized_mnist", "binarized_mnist.npz")
    packed = packed_npz(archive) if archive else {part: packed_amat(part) for part in PACKED}
    splits = {}
    for part in PACKED:
        bits = np.unpackbits(packed[part], axis=1, count=784)
        splits[part] = Split(torch.from_numpy(bits).reshape(-1, 1, 28, 28))
    return Data(
        name="binarized_mnist",
        description=DESCRIPTIONS["binarized_mnist"],
        train=splits["train"],
        validation=splits["valid"],
        test=splits["test"],
        levels=2,
        value_range=(0, 1),
    )


def packed_npz(path: Path) -> dict[str, np.ndarray]:
    """The splits, [N, 98] packed bytes each, of an archive of three arrays."""
    try:
        with np.load(path) as archive:
            return {part: archive[part] for part in PACKED}
    except (KeyError, EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not an archive of {', '.join(PACKED)}: {error}") from error


def packed_amat(part: str) -> np.ndarray:
    """A split of the published text files, [N, 98] packed bytes; the bits themselves are what is checked."""
    file = f"binarized_mnist_{part}.amat"
    path = fetch("binarized_mnist", file, [AMAT + file], None)
    characters = np.frombuffer(path.read_bytes(), np.uint8)
    bits = characters[(characters == ord("0")) | (characters == ord("1"))] - ord("0")
    packed = np.packbits(bits[: bits.size // 784 * 784].reshape(-1, 784), axis=1)
    if hashlib.sha256(packed.tobytes()).hexdigest() != PACKED[part]:
        raise Missing(f"{path} is not the published {part} split: set ZOO_DATA to a folder that has the data")
    return packed
