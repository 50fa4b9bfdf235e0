"""Two-dimensional shapes: 10,000 train rows and 5,000 test rows, each drawn by a seed of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from sklearn import datasets as sklearn_datasets

from zoo.datasets.data import Data, Split

TRAIN, TEST = 10_000, 5_000
Drawn = tuple[np.ndarray, np.ndarray]
"""Points [n, 2] and the part of the shape that each belongs to, [n]."""


def shape(name: str, description: str, draw: Callable[[int, int], Drawn], seed: int) -> Data:
    """The shape as data: train rows by the seed 2 * seed, test rows by 2 * seed + 1."""

    def split(n: int, by: int) -> Split:
        points, part = draw(n, by)
        return Split(torch.tensor(points, dtype=torch.float32), torch.tensor(part, dtype=torch.long))

    return Data(name, description, train=split(TRAIN, 2 * seed), test=split(TEST, 2 * seed + 1))


def two_moons(n: int, seed: int) -> Drawn:
    return sklearn_datasets.make_moons(n, noise=0.07, random_state=seed)


def circles(n: int, seed: int) -> Drawn:
    return sklearn_datasets.make_circles(n, noise=0.07, factor=0.5, random_state=seed)


def swiss_roll(n: int, seed: int) -> Drawn:
    """scikit-learn's roll seen along its axis, at a fifth of its size; the part is the turn, 0 or 1."""
    points, angle = sklearn_datasets.make_swiss_roll(n, noise=0.5, random_state=seed)
    return points[:, [0, 2]] / 5, (angle > 3 * np.pi).astype(int)


def eight_gaussians(n: int, seed: int) -> Drawn:
    """Equal normals of standard deviation 0.2, on the circle of radius 2 at multiples of 45 degrees."""
    random = np.random.default_rng(seed)
    part = random.integers(8, size=n)
    angle = part * np.pi / 4
    return 2 * np.stack([np.cos(angle), np.sin(angle)], 1) + 0.2 * random.standard_normal((n, 2)), part


def pinwheel(n: int, seed: int) -> Drawn:
    """Normals of deviation (0.3, 0.05) around (1, 0), turned by 72 degrees an arm and by exp(radius) / 4."""
    random = np.random.default_rng(seed)
    part = random.integers(5, size=n)
    along, across = (random.standard_normal((n, 2)) * [0.3, 0.05] + [1, 0]).T
    angle = part * 2 * np.pi / 5 + 0.25 * np.exp(along)
    turned = [along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)]
    return 2 * np.stack(turned, 1), part


def checkerboard(n: int, seed: int) -> Drawn:
    """Uniform on the eight black unit squares of a board of four by four, centred at 0: density 1/8 there."""
    random = np.random.default_rng(seed)
    part = random.integers(8, size=n)
    row = part // 2
    corner = np.stack([2 * (part % 2) + row % 2, row], 1)
    return corner - 2 + random.random((n, 2)), part


SHAPES: dict[str, tuple[str, Callable[[int, int], Drawn]]] = {
    "two_moons": ("two interleaved half circles, noise 0.07 (2-d, scikit-learn)", two_moons),
    "circles": ("two circles, one inside the other, noise 0.07 (2-d, scikit-learn)", circles),
    "swiss_roll": ("a spiral, noise 0.1 (2-d, scikit-learn's roll seen along its axis)", swiss_roll),
    "eight_gaussians": ("eight normals on a circle (2-d)", eight_gaussians),
    "pinwheel": ("five bent arms (2-d)", pinwheel),
    "checkerboard": ("uniform on the black squares of a board of four by four (2-d)", checkerboard),
}
