"""Drawings of networks: nothing overlaps, edges end at borders and cross no box, and the figures are the answer's."""

from __future__ import annotations

import itertools

import matplotlib
import networkx as nx
import numpy as np
import pytest
import xarray as xr
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from inference.diagnostics.drawing import BAR, BARS, SEEN, SET, draw_network, percent
from inference.diagnostics.layered import Layout, layered
from inference.query import query
from zoo.graph_files import load_network


def random_graph(seed: int, nodes: int) -> nx.DiGraph:
    rng = np.random.default_rng(seed)
    graph = nx.DiGraph()
    graph.add_nodes_from(f"v{i}" for i in range(nodes))
    for i, j in itertools.combinations(range(nodes), 2):
        if rng.random() < 2.2 / nodes:
            graph.add_edge(f"v{i}", f"v{j}")
    return graph


def box(layout: Layout, sizes: dict, v) -> tuple[float, float, float, float]:
    (x, y), (w, h) = layout.centres[v], sizes[v]
    return x - w / 2, x + w / 2, y - h / 2, y + h / 2


@pytest.mark.parametrize("graph", [*(random_graph(s, 4 + 3 * s) for s in range(8)), load_network("alarm")])
def test_boxes_keep_apart_and_edges_run_between_them(graph) -> None:
    rng = np.random.default_rng(0)
    sizes = {v: (rng.uniform(0.5, 2), rng.uniform(0.2, 1)) for v in graph.nodes()}
    layout = layered(graph, sizes)
    boxes = {v: box(layout, sizes, v) for v in graph.nodes()}
    for u, v in itertools.combinations(boxes, 2):
        (l1, r1, b1, t1), (l2, r2, b2, t2) = boxes[u], boxes[v]
        assert r1 <= l2 or r2 <= l1 or t1 <= b2 or t2 <= b1
    for left, right, low, high in boxes.values():
        assert left >= -1e-9 and right <= layout.width + 1e-9 and high <= 1e-9 and low >= -layout.height - 1e-9
    for u, v in graph.edges():
        assert boxes[u][2] > boxes[v][3]  # causes above their effects
        route = layout.routes[u, v]
        assert route[0][1] == pytest.approx(boxes[u][2]) and route[-1][1] == pytest.approx(boxes[v][3])
        assert boxes[u][0] < route[0][0] < boxes[u][1] and boxes[v][0] < route[-1][0] < boxes[v][1]
        assert route[-2][1] - route[-1][1] > 0.1  # room for the arrowhead, which points straight down
        for x, y in curve(route):
            assert not any(
                left < x < right and low + 1e-9 < y < high - 1e-9 for left, right, low, high in boxes.values()
            )


def curve(route: list) -> list[tuple[float, float]]:
    """Points along the route as it is drawn: straight, bent, straight, ..."""
    points = []
    for i, ((ax, ay), (bx, by)) in enumerate(itertools.pairwise(route)):
        t = np.linspace(0, 1, 21)
        s = 3 * t**2 - 2 * t**3 if i % 2 else t
        y = (1 - t) ** 3 * ay + 3 * t * (1 - t) * (ay + by) / 2 + t**3 * by if i % 2 else ay + t * (by - ay)
        points += list(zip(ax + s * (bx - ax), y, strict=True))
        if i % 2 == 0:
            assert ax == pytest.approx(bx)
    return points


def test_a_chain_hangs_straight_and_a_fork_is_even() -> None:
    sizes = dict.fromkeys("abcd", (1.0, 0.4))
    chain = layered(nx.DiGraph([("a", "b"), ("b", "c"), ("c", "d")]), sizes)
    assert len({round(x, 9) for x, _ in chain.centres.values()}) == 1
    fork = layered(nx.DiGraph([("a", "b"), ("a", "c")]), {v: sizes[v] for v in "abc"})
    left, right = sorted(fork.centres[v][0] for v in "bc")
    assert fork.centres["a"][0] == pytest.approx((left + right) / 2)


@pytest.fixture(scope="module")
def asia():
    return load_network("asia")


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_bars_and_figures_are_the_answers(asia) -> None:
    given = {"xray": "yes"}
    answer = query(asia, [v for v in asia if v not in given], given=given)
    figure = draw_network(asia, answer, given, title="asia")
    ax = figure.axes[0]
    bars = sorted(p.get_width() / BARS for p in ax.patches if isinstance(p, Rectangle) and _is(p, BAR))
    wanted = sorted(float(p) for array in answer.values.values() for p in array.values)
    np.testing.assert_allclose(bars, wanted, atol=1e-12)
    shown = texts(figure)
    assert {"asia", "= yes", "observed", *map(str, asia.nodes())} <= set(shown)
    assert shown.count(percent(float(answer["lung"].sel(lung="yes")))) >= 1
    boxes = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    assert len(boxes) == 8 and len(arrows) == 8 and sum(_is(p, SEEN) for p in boxes) == 1


def _is(patch, colour: str) -> bool:
    return matplotlib.colors.same_color(patch.get_facecolor(), colour)


def test_what_is_written_fits_its_box_and_the_page(asia) -> None:
    figure = draw_network(asia, query(asia, list(asia.nodes())), title="A title that is wider than the network is")
    figure.canvas.draw()
    page = figure.bbox
    boxes = [p.get_window_extent() for p in figure.axes[0].patches if isinstance(p, FancyBboxPatch)]
    for text in figure.axes[0].texts:
        extent = text.get_window_extent()
        assert page.x0 <= extent.x0 and extent.x1 <= page.x1 and page.y0 <= extent.y0 and extent.y1 <= page.y1
        if text.get_fontsize() < 10:
            assert any(
                b.x0 <= extent.x0 and extent.x1 <= b.x1 and b.y0 <= extent.y0 and extent.y1 <= b.y1 for b in boxes
            )


def test_interventions_are_marked_and_the_edges_into_them_dashed(asia) -> None:
    figure = draw_network(asia, do={"lung": "yes"})
    patches = figure.axes[0].patches
    assert sum(_is(p, SET) for p in patches if isinstance(p, FancyBboxPatch)) == 1
    dashed = [p for p in patches if isinstance(p, FancyArrowPatch) and p.get_linestyle() not in ("-", "solid")]
    assert len(dashed) == 1 and "do = yes" in texts(figure) and "set by intervention" in texts(figure)


def test_long_lists_of_states_are_cut_to_the_likeliest() -> None:
    graph = nx.DiGraph([("a", "b")])
    p = np.array([0.01, 0.3, 0.02, 0.4, 0.03, 0.14, 0.1])
    array = xr.DataArray(p, dims=("a",), coords={"a": [f"s{i}" for i in range(7)]})
    shown = texts(draw_network(graph, {"a": array}, states=3))
    assert [text for text in shown if text.startswith("s")] == ["s1", "s3", "s5"]
    assert "4 others" in shown and "16.0 %" in shown
    assert "$x_1$" in texts(draw_network(nx.DiGraph([("$x_1$", "b")])))


def test_a_joint_answer_gives_each_variables_own(asia) -> None:
    joint, alone = query(asia, [("lung", "bronc")]), query(asia, ["lung", "bronc"])
    assert texts(draw_network(asia, joint)) == texts(draw_network(asia, alone))


@pytest.mark.parametrize(
    ("p", "text"), [(0, "0 %"), (1, "100 %"), (1e-5, "<0.1 %"), (1 - 1e-5, ">99.9 %"), (0.5, "50.0 %")]
)
def test_percentages_never_call_the_unlikely_impossible(p: float, text: str) -> None:
    assert percent(p) == text


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_drawings_are_saved_and_leave_nothing_global(asia, tmp_path, kind: str) -> None:
    before = dict(matplotlib.rcParams)
    path = tmp_path / f"asia.{kind}"
    draw_network(asia, query(asia, ["lung"])).savefig(path)
    assert path.stat().st_size > 1000 and dict(matplotlib.rcParams) == before


def test_what_cannot_be_drawn_is_refused(asia) -> None:
    with pytest.raises(TypeError, match="a directed graph can be drawn, not a str"):
        draw_network("asia")
    with pytest.raises(ValueError, match="has a cycle: a -> b -> a"):
        draw_network(nx.DiGraph([("a", "b"), ("b", "a")]))
    with pytest.raises(ValueError, match="no variables"):
        draw_network(nx.DiGraph())
    with pytest.raises(ValueError, match="given: the network has no variable 'lun'; near: lung"):
        draw_network(asia, given={"lun": "yes"})
    with pytest.raises(ValueError, match="answer tells of; near: lung"):
        draw_network(asia, {"lun": xr.DataArray([0.5, 0.5], dims=("lun",))})
    rows = xr.DataArray(np.full((3, 2), 0.5), dims=("row", "lung"), coords={"lung": ["yes", "no"]})
    with pytest.raises(ValueError, match="choose one row"):
        draw_network(asia, {"lung": rows})
    with pytest.raises(ValueError, match="states is 0"):
        draw_network(asia, states=0)
