"""Data by name: its splits against their statement, its views against autograd and torch's own transforms."""

import gzip
import hashlib
import math
import os
import re
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pooch
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets as sklearn_datasets
from sklearn.preprocessing import StandardScaler
from torch import distributions as td
from torch.distributions import constraints

from zoo import datasets
from zoo.datasets import Data, Missing, Split, files, images, measured
from zoo.datasets.views import Dequantise, Logit, Standardise, Unit

EMBEDDED = {
    "digits": (1347, 450, [1, 8, 8]),
    "two_moons": (10_000, 5_000, [2]),
    "circles": (10_000, 5_000, [2]),
    "swiss_roll": (10_000, 5_000, [2]),
    "eight_gaussians": (10_000, 5_000, [2]),
    "pinwheel": (10_000, 5_000, [2]),
    "checkerboard": (10_000, 5_000, [2]),
    "iris": (112, 38, [4]),
    "breast_cancer": (427, 142, [30]),
    "wine": (133, 45, [13]),
    "synthetic_voice": (400, 100, [1024]),
}
LARGE = {"mnist", "fashion_mnist", "binarized_mnist", "tinyshakespeare"}


def levels_data(rows: int, shape: tuple[int, ...], levels: int, seed: int = 0) -> Data:
    random = torch.Generator().manual_seed(seed)
    x = torch.randint(levels, (2 * rows, *shape), generator=random)
    high = (0, levels - 1)
    return Data("noise", "uniform levels", Split(x[:rows]), Split(x[rows:]), levels=levels, value_range=high)


# ---- by name


def test_names_lists_every_data_set_with_a_line() -> None:
    kept = {*measured.ANOMALIES, "sp500", "spoken_digits"}
    assert set(datasets.names()) == {*EMBEDDED, "pydoc_topics", *LARGE, *kept}
    assert all(line and "\n" not in line for line in datasets.names().values())


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_data_has_the_stated_splits(name: str) -> None:
    data = datasets.load(name)
    train, test, shape = EMBEDDED[name]
    assert (len(data.train), len(data.test), list(data.event_shape)) == (train, test, shape)
    assert data.validation is None and list(data.splits) == ["train", "test"]
    for split in data.splits.values():
        assert split.x.shape == (len(split), *shape) and split.y is not None and len(split.y) == len(split)
        assert torch.isfinite(split.x).all()
        low, high = data.value_range
        assert split.x.min() >= low and split.x.max() <= high
    if data.class_names is not None:
        assert data.train.y.unique().tolist() == list(range(len(data.class_names)))


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_seed_gives_the_same_rows_and_another_seed_others(name: str) -> None:
    state, legacy = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = datasets.load(name), datasets.load(name, seed=0), datasets.load(name, seed=1)
    assert torch.equal(first.train.x, again.train.x) and torch.equal(first.test.x, again.test.x)
    assert not torch.equal(first.train.x, other.train.x)
    assert torch.equal(state, torch.random.get_rng_state())
    assert (legacy == np.random.get_state()[1]).all()  # noqa: NPY002


def loaded_from_sklearn(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    bunch = getattr(sklearn_datasets, f"load_{name}")()
    return torch.tensor(bunch.data).float(), torch.tensor(bunch.target)


@pytest.mark.parametrize("name", ["digits", "iris", "breast_cancer", "wine"])
def test_permuted_splits_are_scikit_learns_rows_each_once(name: str) -> None:
    x, y = loaded_from_sklearn(name)
    order = np.random.RandomState(0).permutation(len(x))
    data = datasets.load(name).flat()
    assert torch.equal(torch.cat([data.train.x, data.test.x]).float(), x[order])
    assert torch.equal(torch.cat([data.train.y, data.test.y]), y[order])


def test_digits_are_levels_and_tables_keep_their_names() -> None:
    digits, iris = datasets.load("digits"), datasets.load("iris")
    assert digits.levels == 17 and digits.train.x.unique().tolist() == list(range(17))
    assert digits.measure == "mass" and iris.measure == "density" and iris.levels is None
    assert iris.feature_names == tuple(sklearn_datasets.load_iris().feature_names)
    assert iris.class_names == ("setosa", "versicolor", "virginica")
    assert len(datasets.load("breast_cancer").feature_names) == 30


def test_two_moons_are_scikit_learns() -> None:
    moons = datasets.load("two_moons")
    for split, seed in ((moons.train, 0), (moons.test, 1)):
        points, part = sklearn_datasets.make_moons(len(split), noise=0.07, random_state=seed)
        assert torch.equal(split.x, torch.tensor(points).float()) and torch.equal(split.y, torch.tensor(part))


def test_eight_gaussians_have_the_stated_moments() -> None:
    data = datasets.load("eight_gaussians").train
    for part in range(8):
        points = data.x[data.y == part].double()
        centre = 2 * torch.tensor([math.cos(part * math.pi / 4), math.sin(part * math.pi / 4)])
        assert abs(len(points) - 1250) < 150
        assert torch.allclose(points.mean(0).float(), centre, atol=0.03)
        assert torch.allclose(points.std(0), torch.full((2,), 0.2).double(), atol=0.02)


def test_checkerboard_is_uniform_on_squares_of_one_colour() -> None:
    x = datasets.load("checkerboard").train.x
    square = (x + 2).floor().long()
    assert square.min() == 0 and square.max() == 3 and (square.sum(1) % 2 == 0).all()
    counts = torch.bincount(square[:, 0] * 4 + square[:, 1], minlength=16)
    assert (counts > 0).sum() == 8 and counts[counts > 0].min() > 1100
    inside = x - x.floor()
    assert torch.allclose(inside.mean(0), torch.full((2,), 0.5), atol=0.01)
    assert torch.allclose(inside.var(0), torch.full((2,), 1 / 12), atol=0.003)


def test_pinwheel_arms_are_turned_copies_of_one_another() -> None:
    data = datasets.load("pinwheel").train
    means = torch.stack([data.x[data.y == arm].mean(0) for arm in range(5)])
    angle = torch.atan2(means[:, 1], means[:, 0])
    turns = (angle.diff() % (2 * math.pi)) / (2 * math.pi / 5)
    assert torch.allclose(turns, torch.ones(4), atol=0.02)
    assert torch.allclose(means.norm(dim=1), means.norm(dim=1).mean(), rtol=0.02)


def test_text_is_pythons_topics_with_the_last_tenth_held_out() -> None:
    from pydoc_data.topics import topics

    content = "\n".join(topics.values())
    data = datasets.load("pydoc_topics")
    assert data.text(data.train.x) + data.text(data.test.x) == content
    assert len(data.test) == math.ceil(len(content) / 10) and data.levels == len(set(content))
    assert data.event_shape == () and data.measure == "mass" and data.vocabulary == tuple(sorted(set(content)))
    rows = data.windows(64)
    assert rows.event_shape == (64,) and len(rows.train) == len(data.train) // 64
    assert rows.text(rows.train.x[1]) == content[64:128]


def test_networks_are_the_ones_that_pgmpy_loads() -> None:
    names = datasets.networks()
    assert len(names) == 24 and {"asia", "alarm", "cancer", "sachs"} <= set(names)


def test_an_unknown_name_is_refused_with_near_ones() -> None:
    with pytest.raises(ValueError, match=r"no data named 'two_mons': did you mean two_moons"):
        datasets.load("two_mons")
    with pytest.raises(ValueError, match="no data named 'zzzz': there are digits, two_moons"):
        datasets.load("zzzz")
    with pytest.raises(ValueError, match="'asia': it is a Bayesian network"):
        datasets.load("asia")


# ---- views: the change of variables


@pytest.mark.parametrize(
    "step, rows",
    [
        (Dequantise(17), torch.tensor([[0.0, 3.0, 16.0]])),
        (Logit(0.05), torch.tensor([[0.01, 0.5, 0.93]])),
        (Unit(17), torch.tensor([[1.0, 8.0, 16.0]])),
        (
            Standardise(torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.3, 4.0, 7.0])),
            torch.tensor([[1.0, 2.0, -1.0]]),
        ),
    ],
)
def test_the_volume_of_a_step_is_autograds_log_determinant(step: object, rows: torch.Tensor) -> None:
    x = rows.double()
    jacobian = torch.autograd.functional.jacobian(lambda x: step.apply(x, 0), x).reshape(3, 3)
    _, nats = step.undo(step.apply(x, 0))
    assert torch.allclose(nats, torch.linalg.slogdet(jacobian).logabsdet, rtol=1e-12)


def test_the_volume_of_a_chain_is_autograds_log_determinant() -> None:
    data = levels_data(5, (2, 3), 17)
    data = replace(data, train=Split(data.train.x.double()), test=Split(data.test.x.double()))
    view = data.dequantised(seed=3).logit(0.1).standardised().flat()

    def forwards(row: torch.Tensor) -> torch.Tensor:
        x = row.reshape(1, 2, 3)
        for step in view.steps:
            # The noise of a batch of one differs from that of all rows, and drops out of the slope.
            x = step.apply(x, 3)
        return x.flatten()

    for row in data.train.x[:3]:
        y = forwards(row.flatten()).reshape(1, 6)
        jacobian = torch.autograd.functional.jacobian(forwards, row.flatten())
        assert torch.allclose(view.log_volume(y), torch.linalg.slogdet(jacobian).logabsdet[None], rtol=1e-10)


@pytest.mark.parametrize("alpha", [0.0, 0.05, 0.2])
def test_a_mass_seen_through_the_view_comes_back_exactly(alpha: float) -> None:
    """A density constant on each level's cell, pushed through torch's own transforms, is the mass again."""
    levels, cells = 5, torch.tensor([0.1, 0.4, 0.25, 0.05, 0.2], dtype=torch.double)
    data = levels_data(300, (3,), levels)
    data = replace(data, train=Split(data.train.x.double()))
    view = data.dequantised().logit(alpha)
    y = view.train.x
    to_logits = [td.AffineTransform(alpha, 1 - 2 * alpha), td.SigmoidTransform().inv]
    v = to_logits[0].inv(to_logits[1].inv(y))
    log_density = (cells * levels).log()[(v * levels).long()]
    for before, transform, after in (
        (v, to_logits[0], alpha + (1 - 2 * alpha) * v),
        (alpha + (1 - 2 * alpha) * v, to_logits[1], y),
    ):
        log_density = log_density - transform.log_abs_det_jacobian(before, after)
    mass = cells.log()[data.train.x.long()].sum(1)
    assert torch.allclose(log_density.sum(1) + view.log_volume(y), mass, atol=1e-8)
    bits = view.bits_per_dim(log_density.sum(1), y)
    assert torch.allclose(bits, -mass / (3 * math.log(2)), atol=1e-8)


def test_a_uniform_density_costs_log2_of_the_levels() -> None:
    data = datasets.load("digits").dequantised()
    bits = data.bits_per_dim(torch.zeros(450), data.test.x)
    assert torch.allclose(bits, torch.tensor(math.log2(17)))
    logits = data.logit(0.0)
    standard_logistic = td.TransformedDistribution(td.Uniform(0, 1), [td.SigmoidTransform().inv])
    y = logits.test.x.double()
    bits = logits.bits_per_dim(standard_logistic.log_prob(y).flatten(1).sum(1), y)
    assert torch.allclose(bits, torch.tensor(math.log2(17)).double(), atol=1e-5)


def test_the_figure_of_a_dequantised_density_bounds_the_mass() -> None:
    """The mean over the noise of log p(v) + log volume stays below the log of the level's mass (Jensen)."""
    data = levels_data(80_000, (1,), 4).dequantised()
    beta = td.Beta(2.0, 3.0)
    v = data.train.x
    level = data.restore(v)[:, 0]
    bound = beta.log_prob(v).sum(1) + data.log_volume(v)
    for k in range(4):
        cell = ((torch.arange(20_000).double() + 0.5) / 20_000 + k) / 4
        mass, expected = beta.log_prob(cell).exp().mean() / 4, beta.log_prob(cell).mean() - math.log(4)
        figure = bound[level == k].double().mean()
        assert abs(figure - expected) < 0.05
        assert figure < mass.log()


@settings(max_examples=60, deadline=None)
@given(
    levels=st.integers(2, 256),
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    alpha=st.sampled_from([0.01, 0.05, 0.3]),
    seed=st.integers(0, 2**31),
)
def test_views_of_levels_restore_the_levels(levels: int, shape: list[int], alpha: float, seed: int) -> None:
    data = levels_data(7, tuple(shape), levels, seed)
    for view in (
        data.dequantised(seed),
        data.dequantised(seed).logit(alpha),
        data.flat().dequantised(seed).logit(alpha),
        data.dequantised(seed).logit(alpha).standardised().flat(),
        data.unit(),
        data.unit().flat(),
        data.flat(),
        data,
    ):
        for split, raw in ((view.train, data.train), (view.test, data.test)):
            restored = view.restore(split.x)
            assert restored.dtype == torch.float32 and torch.equal(restored, raw.x.float())


def test_all_the_digits_come_back_from_single_precision() -> None:
    data = datasets.load("digits")
    view = data.dequantised(seed=5).logit()
    assert torch.equal(view.restore(view.train.x), data.train.x.float())
    beyond = view.restore(torch.full((1, 1, 8, 8), 50.0))
    assert (beyond == 16).all() and (view.restore(torch.full((1, 1, 8, 8), -50.0)) == 0).all()


def test_noise_is_uniform_and_follows_its_seeds() -> None:
    data = datasets.load("digits")
    first, again, other = data.dequantised(0), data.dequantised(0), data.dequantised(1)
    assert torch.equal(first.train.x, again.train.x) and not torch.equal(first.train.x, other.train.x)
    assert torch.equal(first.test.x, other.test.x)
    assert not torch.equal(first.test.x, data.dequantised(0, test_seed=1).test.x)
    expected = (data.test.x + torch.rand(data.test.x.shape, generator=torch.Generator().manual_seed(999))) / 17
    assert torch.allclose(first.test.x, expected, atol=2e-5)
    noise = first.train.x * 17 - data.train.x
    assert abs(noise.mean() - 0.5) < 0.005 and abs(noise.var() - 1 / 12) < 0.002
    assert first.train.x.min() > 0 and first.train.x.max() < 1


def test_binarised_digits_are_bits_above_seven_and_a_half() -> None:
    data = datasets.load("digits")
    view = data.binarised()
    assert torch.equal(view.train.x, (data.train.x >= 8).float()) and view.measure == "mass"
    assert torch.equal(view.restore(view.test.x), view.test.x)
    assert torch.equal(data.binarised(0).train.x, (data.train.x >= 1).float())
    fair = torch.full((450,), -64 * math.log(2))
    assert torch.allclose(view.bits_per_dim(fair, view.test.x), torch.ones(450))
    assert torch.equal(levels_data(9, (2,), 4).binarised().train.x, (levels_data(9, (2,), 4).train.x >= 2).float())


@pytest.mark.parametrize("name", ["iris", "breast_cancer", "wine"])
def test_standardised_tables_are_scikit_learns_by_train_rows(name: str) -> None:
    data = datasets.load(name)
    view = data.standardised()
    scaler = StandardScaler().fit(data.train.x.numpy().astype("f8"))
    for split, raw in ((view.train, data.train), (view.test, data.test)):
        assert np.allclose(split.x, scaler.transform(raw.x.numpy().astype("f8")), atol=1e-5)
        assert torch.allclose(view.restore(split.x), raw.x, rtol=1e-5, atol=1e-5)
    expected = -math.log(2) * data.event_shape.numel() * 3.0 - np.log(scaler.scale_).sum()
    bits = view.bits_per_dim(torch.full((5,), -3.0 * data.event_shape.numel() * math.log(2)), view.test.x[:5])
    assert np.allclose(bits, -expected / (data.event_shape.numel() * math.log(2)), atol=1e-5)


def test_a_column_without_spread_is_only_centred() -> None:
    data = Data("flat", "a constant column", Split(torch.tensor([[1.0, 2.0], [1.0, 4.0]])), Split(torch.ones(1, 2)))
    view = data.standardised()
    assert view.train.x.tolist() == [[0.0, -1.0], [0.0, 1.0]] and view.log_volume(view.test.x).item() == 0.0


def test_the_range_of_a_view_holds_its_values() -> None:
    data = datasets.load("digits")
    edge = math.log(0.95 / 0.05)
    assert data.dequantised().value_range == (0, 1) and data.binarised().value_range == (0, 1)
    assert data.dequantised().logit().value_range == pytest.approx((-edge, edge))
    view = data.dequantised().standardised()
    assert view.value_range[0] <= view.train.x.min() and view.train.x.max() <= view.value_range[1]


def test_notes_say_what_the_figure_is() -> None:
    data = datasets.load("digits")
    assert "mass of the 17 levels" in data.likelihood_note and "4.09" in data.likelihood_note
    assert "bounds the mass of the 17 levels from below" in data.dequantised().logit().likelihood_note
    assert "not to be compared" in data.binarised().likelihood_note
    assert "dequantised()" in data.unit().likelihood_note
    assert "raw features" in datasets.load("iris").standardised().likelihood_note


def test_views_in_the_wrong_order_are_refused() -> None:
    digits, iris = datasets.load("digits"), datasets.load("iris")
    with pytest.raises(ValueError, match=r"logit needs a view in the unit cube: take dequantised\(\) first"):
        digits.logit()
    with pytest.raises(ValueError, match="dequantise needs raw levels; this view of iris lies in the space 'real'"):
        iris.dequantised()
    with pytest.raises(ValueError, match="standardise needs real numbers"):
        digits.standardised()
    with pytest.raises(ValueError, match="binarise needs raw levels"):
        digits.dequantised().binarised()
    with pytest.raises(ValueError, match="'codes'"):
        datasets.load("pydoc_topics").dequantised()
    with pytest.raises(ValueError, match=r"alpha must be .* not 0.5"):
        digits.dequantised().logit(0.5)
    with pytest.raises(ValueError, match=r"digits has rows of shape \[1, 8, 8\]"):
        digits.windows(4)
    with pytest.raises(ValueError, match="digits holds no text"):
        digits.text(digits.train.x)


def test_points_of_another_shape_are_refused() -> None:
    data = datasets.load("digits").dequantised()
    with pytest.raises(ValueError, match=r"shape \[N, 1, 8, 8\], not \[3, 64\]"):
        data.restore(torch.zeros(3, 64))
    with pytest.raises(ValueError, match=r"one value for each of 3 rows, not \[1\]"):
        data.bits_per_dim(torch.zeros(1), torch.zeros(3, 1, 8, 8))
    with pytest.raises(ValueError, match="x has 3 rows, but y has 2 labels"):
        Split(torch.zeros(3, 1), torch.zeros(2))


# ---- the view that a support asks for


@pytest.mark.parametrize(
    "name, support, steps",
    [
        ("digits", constraints.boolean, ["Binarise"]),
        ("digits", constraints.independent(constraints.boolean, 3), ["Binarise"]),
        ("digits", constraints.real, ["Dequantise", "Logit"]),
        ("digits", constraints.independent(constraints.real, 3), ["Dequantise", "Logit"]),
        ("digits", constraints.unit_interval, ["Dequantise"]),
        ("digits", constraints.integer_interval(0, 16), []),
        ("digits", constraints.integer_interval(0, 1), ["Binarise"]),
        ("digits", constraints.nonnegative_integer, []),
        ("iris", constraints.real, ["Standardise"]),
        ("iris", constraints.positive, []),
        ("two_moons", constraints.real_vector, []),
        ("pydoc_topics", constraints.nonnegative_integer, []),
    ],
)
def test_default_view(name: str, support: constraints.Constraint, steps: list[str]) -> None:
    view = datasets.load(name).default_view(support)
    assert [type(step).__name__ for step in view.steps] == steps
    assert (view.measure == "mass") == support.is_discrete and bool(support.check(view.train.x).all())


def test_a_default_view_keeps_what_fits_and_looks_through_flat() -> None:
    digits = datasets.load("digits")
    view = digits.dequantised(seed=4).logit(0.2)
    assert view.default_view(constraints.real) is view
    assert [type(step).__name__ for step in digits.flat().default_view(constraints.real).steps] == [
        "Flatten",
        "Dequantise",
        "Logit",
    ]


@pytest.mark.parametrize(
    "name, support",
    [
        ("two_moons", constraints.boolean),
        ("two_moons", constraints.positive),
        ("iris", constraints.integer_interval(0, 16)),
        ("iris", constraints.simplex),
        ("pydoc_topics", constraints.real),
        ("pydoc_topics", constraints.boolean),
    ],
)
def test_a_support_that_nothing_fits_is_refused(name: str, support: constraints.Constraint) -> None:
    with pytest.raises(ValueError, match=f"no view of {name} fits a model whose support is"):
        datasets.load(name).default_view(support)


# ---- files


def write_idx(path: Path, values: np.ndarray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(head + values.astype(np.uint8).tobytes()))


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty ZOO_DATA and cache, and no network."""

    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("no network")

    (tmp_path / "data").mkdir()
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    monkeypatch.setattr(pooch, "retrieve", refuse)
    return tmp_path / "data"


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_are_read_from_zoo_data(name: str, nowhere: Path) -> None:
    (nowhere / name).mkdir()
    random = np.random.default_rng(0)
    parts = {}
    for start, n in (("train", 6), ("t10k", 3)):
        parts[start] = random.integers(256, size=(n, 28, 28)), np.arange(n)
        write_idx(nowhere / name / f"{start}-images-idx3-ubyte.gz", parts[start][0])
        write_idx(nowhere / name / f"{start}-labels-idx1-ubyte.gz", parts[start][1])
    data = datasets.load(name)
    for split, (x, y) in ((data.train, parts["train"]), (data.test, parts["t10k"])):
        assert (split.x.squeeze(1).numpy() == x).all() and (split.y.numpy() == y).all()
    assert data.levels == 256 and data.event_shape == (1, 28, 28) and len(data.class_names) == 10
    view = data.dequantised().logit()
    assert torch.equal(view.restore(view.train.x), data.train.x.float())
    assert torch.equal(data.binarised().train.x, (data.train.x >= 128).float())


def test_downloads_are_checked_by_sha256() -> None:
    sums = [checksum for kind in images.IDX.values() for checksum in kind.checksums.values()]
    assert len(set(sums)) == 8 and all(re.fullmatch("sha256:[0-9a-f]{64}", checksum) for checksum in sums)


def test_binarized_mnist_is_unpacked_into_three_splits(nowhere: Path) -> None:
    (nowhere / "binarized_mnist").mkdir()
    sizes = {"train": 5, "valid": 3, "test": 2}
    bits = {part: np.random.default_rng(n).integers(2, size=(n, 784)) for part, n in sizes.items()}
    archive = nowhere / "binarized_mnist" / "binarized_mnist.npz"
    np.savez(archive, **{part: np.packbits(rows, axis=1) for part, rows in bits.items()})
    data = datasets.load("binarized_mnist")
    for split, rows in zip((data.train, data.validation, data.test), bits.values(), strict=True):
        assert (split.x.reshape(-1, 784).numpy() == rows).all()
    view = data.default_view(constraints.boolean)
    assert view.train.x.dtype == torch.float32 and torch.equal(view.validation.x, data.validation.x.float())
    archive.write_bytes(b"not an archive")
    with pytest.raises(ValueError, match=r"binarized_mnist.npz is not an archive of train, valid, test"):
        datasets.load("binarized_mnist")


def test_the_published_text_of_binarized_mnist_is_checked_by_its_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bits = np.random.default_rng(0).integers(2, size=(4, 784))
    path = tmp_path / "rows.amat"
    path.write_text("\n".join(" ".join(map(str, row)) for row in bits) + "\n")
    packed = np.packbits(bits, axis=1)
    monkeypatch.setattr(images, "fetch", lambda *_: path)
    monkeypatch.setitem(images.PACKED, "train", hashlib.sha256(packed.tobytes()).hexdigest())
    assert (images.packed_amat("train") == packed).all()
    with pytest.raises(Missing, match=r"is not the published test split: set ZOO_DATA"):
        images.packed_amat("test")


@pytest.mark.parametrize("name", sorted(LARGE))
def test_without_file_and_network_the_sentence_names_zoo_data(name: str, nowhere: Path) -> None:
    with pytest.raises(Missing, match=rf"of {name} is not in .* \(ConnectionError\): set ZOO_DATA to a folder"):
        datasets.load(name)


def test_without_zoo_data_the_sentence_says_so(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_DATA")
    with pytest.raises(Missing, match=r"^input.txt of tinyshakespeare is not at hand \(ZOO_DATA is not set\)"):
        datasets.load("tinyshakespeare")


@pytest.mark.parametrize("content", [b"", b"\0\0", b"\0\0\x08\x03\0\0\0\1", b"\0\0\x08\x01\0\0\0\5abc", b"text"])
def test_a_damaged_idx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(ValueError, match=r"images.gz is no idx file of bytes"):
        images.read_idx(path)
    path.write_bytes(gzip.compress(content)[:-3])
    with pytest.raises(ValueError, match=r"images.gz is not a whole gzip file"):
        images.read_idx(path)


def test_downloads_are_checked_and_the_next_mirror_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "input.txt").write_text("to be or not")
    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}/"
        right = "sha256:" + hashlib.sha256(b"to be or not").hexdigest()
        with pytest.raises(Missing, match="wrong checksum"):
            files.fetch("text", "input.txt", [base + "input.txt"], "sha256:" + "0" * 64)
        path = files.fetch("text", "input.txt", [base + "absent.txt", base + "input.txt"], right)
        assert path.read_text() == "to be or not" and path.is_relative_to(tmp_path / "cache")
        server.shutdown()
    assert files.fetch("text", "input.txt", ["http://127.0.0.1:9/"], right) == path


# ---- the real files, where ZOO_DATA has them


def real(name: str, file: str) -> Data:
    if not (root := os.environ.get("ZOO_DATA")) or not Path(root, name, file).is_file():
        pytest.skip(f"ZOO_DATA has no {name}/{file}")
    return datasets.load(name)


def test_mnist_as_published() -> None:
    data = real("mnist", "train-images-idx3-ubyte.gz")
    assert data.train.x.shape == (60_000, 1, 28, 28) and len(data.test) == 10_000
    assert data.train.y[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.train.x.float().mean().item() / 255 == pytest.approx(0.1307, abs=1e-4)


def test_binarized_mnist_as_published() -> None:
    data = real("binarized_mnist", "binarized_mnist.npz")
    assert [len(split) for split in data.splits.values()] == [50_000, 10_000, 10_000]
    assert data.train.x.float().mean().item() == pytest.approx(0.13, abs=0.005)


def test_tinyshakespeare_as_published() -> None:
    data = real("tinyshakespeare", "input.txt")
    assert len(data.train) == 1_003_854 and len(data.test) == 111_540 and data.levels == 65
    assert data.text(data.train.x[:14]) == "First Citizen:"
