"""Pictures of a spread: what is drawn is what was given, and a file is whole or not there."""

from __future__ import annotations

import itertools
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from zoo.spread.animation import _stage
from zoo.spread.graph import Graph
from zoo.spread.layouts import ends, layout
from zoo.spread.pictures import animate, draw_curves, draw_graph

KARATE = Graph.of(nx.karate_club_graph())
TIMES = torch.arange(5.0)


def test_curves_have_their_median_their_bands_and_what_was_observed() -> None:
    draws = torch.arange(100.0)[:, None] + 10 * TIMES
    seen = torch.tensor([50.0, 61.0, torch.nan, 80.0, 90.0])
    figure = draw_curves(TIMES, {"I": draws.view(4, 25, 5), "S": 3 * TIMES}, observed={"I": seen}, ylabel="people")
    (ax,) = figure.axes
    lines = {line.get_label(): line.get_ydata() for line in ax.lines}
    assert lines["I (median, 50 %, 90 %)"] == pytest.approx(49.5 + 10 * TIMES.numpy())
    assert lines["S"] == pytest.approx(3 * TIMES.numpy())
    assert np.isnan(lines["I, observed"][2]) and lines["I, observed"][3] == 80
    wide, narrow = (band.get_paths()[0].vertices for band in ax.collections)
    assert [wide[:, 1].min(), wide[:, 1].max()] == pytest.approx([4.95, 94.05 + 40], abs=0.01)
    assert [narrow[:, 1].min(), narrow[:, 1].max()] == pytest.approx([24.75, 74.25 + 40], abs=0.01)
    assert ax.get_ylabel() == "people"
    figure.draw_without_rendering()


def test_a_graph_is_coloured_and_laid_out_alike_in_all_panels() -> None:
    p = torch.linspace(0, 1, KARATE.n)
    figure = draw_graph(KARATE, {f"day {k}": p**k for k in range(1, 6)}, marked={"vaccinated": [0, 33]})
    panels = [ax for ax in figure.axes if ax.get_title().startswith("day")]
    assert len(panels) == 5
    places = layout(KARATE).numpy()
    for k, ax in enumerate(panels, 1):
        edges, dots, rings = ax.collections
        assert len(edges.get_segments()) == 78
        order = np.argsort(dots.get_array(), kind="stable")
        assert np.asarray(dots.get_array())[order] == pytest.approx(np.sort((p**k).numpy()))
        assert np.asarray(dots.get_offsets())[-1] == pytest.approx(places[33], abs=1e-6)  # the likeliest, drawn last
        assert np.asarray(rings.get_offsets()) == pytest.approx(places[[0, 33]], abs=1e-6)
        assert dots.get_clim() == (0, 1)
    figure.draw_without_rendering()


def test_small_probabilities_can_be_told_apart() -> None:
    p = torch.linspace(0, 0.1, KARATE.n)
    figure = draw_graph(KARATE, {"a": p, "b": p / 2})
    assert all(ax.collections[1].get_clim() == pytest.approx((0, 0.1)) for ax in figure.axes[:2])


LONG = ["those who were seen to have heard it", "the source, which nobody saw", "vaccinated before it began"]


def test_words_stay_within_the_picture_and_apart() -> None:
    p, titles = torch.rand(KARATE.n), [f"the posterior of the source at step {k}, by chains" for k in range(4)]
    one = draw_graph(KARATE, {"a": p}, marked={words: [k] for k, words in enumerate(LONG)})
    many = draw_graph(KARATE, dict.fromkeys(titles, p), marked={words: [k] for k, words in enumerate(LONG)})
    moving = _stage(KARATE, layout(KARATE).numpy(), LONG)[0]
    for figure in (one, many, moving):
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0
        assert box.y1 <= min(ax.get_window_extent().y0 for ax in figure.axes)
    boxes = [ax.title.get_window_extent() for ax in many.axes[:4]]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_many_curves_have_a_colour_each_and_their_names_beside_them() -> None:
    figure = draw_curves(TIMES, {f"compartment {k}": k + TIMES for k in range(12)})
    figure.draw_without_rendering()
    (ax,) = figure.axes
    assert len({line.get_color() for line in ax.lines}) == 12
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_the_layout_is_of_its_seed_and_keeps_neighbours_near() -> None:
    apart = nx.disjoint_union(nx.complete_graph(12), nx.complete_graph(12))
    apart.add_edge(0, 12)
    graph = Graph.of(apart)
    at = layout(graph)
    assert torch.equal(at, layout(graph)) and not torch.equal(at, layout(graph, seed=1))
    head, tail = ends(graph)
    within = (at[head] - at[tail]).norm(dim=1).mean()
    across = (at[:12, None] - at[None, 12:]).norm(dim=-1).mean()
    assert within < 0.5 * across
    state = torch.get_rng_state()
    layout(graph)
    assert torch.equal(state, torch.get_rng_state())
    assert layout(Graph.of([], nodes=["alone"])).isfinite().all()


def test_an_animation_has_every_frame(tmp_path: Path) -> None:
    states = torch.stack([torch.arange(KARATE.n) % k for k in (1, 2, 3)])
    path = animate(KARATE, states, tmp_path / "spread.gif", names=("S", "I", "R"), titles=["a", "b", "c"])
    assert [each.name for each in tmp_path.iterdir()] == ["spread.gif"]
    with Image.open(path) as image:
        assert image.n_frames == 3
        shown = []
        for k in range(3):
            image.seek(k)
            shown.append(np.asarray(image.convert("RGB")))
    assert (shown[0] != shown[1]).any() and (shown[1] != shown[2]).any()


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: draw_curves(TIMES, {"I": torch.ones(3, 4)}), "'I' have 4 times, but there are 5"),
        (lambda: draw_graph(KARATE, {}), "no panel"),
        (lambda: draw_graph(KARATE, {"day 1": torch.ones(3)}), "'day 1' needs a number for each of 34 nodes"),
        (lambda: animate(KARATE, torch.ones(2, 3), "x.gif", names="SI"), "a state of each node, not"),
        (lambda: animate(KARATE, torch.zeros(2, 34), "x.gif", names="SI", titles=["a"]), "2 frames, but 1 titles"),
        (lambda: animate(KARATE, torch.full((2, 34), 2), "x.gif", names="SI"), "state 2.*2 names"),
        (lambda: animate(KARATE, torch.full((2, 34), -1), "x.gif", names="SI"), "state -1.*2 names"),
    ],
)
def test_what_does_not_fit_is_said(draw, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        draw()
    assert not Path("x.gif").exists()


def test_figures_stand_alone() -> None:
    assert isinstance(draw_curves(TIMES, {"spreader": TIMES}), Figure)
