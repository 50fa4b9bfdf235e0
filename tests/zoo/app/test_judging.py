"""What samples are judged by in a report, and what it shows."""

from types import SimpleNamespace

import pytest
import torch

import zoo
from inference.evaluate import evaluate
from inference.quality import VALUES
from inference.results import Fit
from zoo.app import figures, judging
from zoo.app.recipe import Task
from zoo.app.report import write
from zoo.app.telling import Found
from zoo.datasets import load


class Ones:
    """Draws the training rows of one digit."""

    kind = "implicit"

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows

    def sample(self, n: int) -> torch.Tensor:
        return self.rows[torch.randint(len(self.rows), (n,))]


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    data = load("digits").unit().flat()
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    patch.setattr(judging, "MOST_STEPS", 8000)
    task = Task(SimpleNamespace(event_shape=data.event_shape), data)
    features, modes = judging.measures(task)
    again, _ = judging.measures(task)
    patch.undo()
    model = Ones(data.train.x[data.train.y == 1])
    board = evaluate({"ones": model}, data, features=features, modes=modes, samples=200)
    return data, features, again, modes, board, Found("ones", task, Fit(model, "none", None, 0, 0.0, "", 0), board)


def test_labelled_images_are_judged_by_a_classifier_and_their_classes(judged):
    data, features, again, modes, board, _ = judged
    x = data.restore(data.test.x)
    assert features.name == again.name and torch.equal(features(x), again(x))
    assert modes.names == tuple(map(str, range(10))) and modes.source == "10 classes"
    right = (modes.assign(features(x))[0] == data.test.y).double().mean()
    assert right > 0.9
    found = board.quality["ones"]
    assert found.modes.reached[1] and {"0", "4"} <= set(found.modes.missing)
    assert found.memory.memorizes and found.memory.copies.statistic.value > 0.9
    assert board.table.loc["ones", "modes"] == 10 and "of 10" in board.readable_quality().loc["ones", "modes"]


def test_a_report_pictures_the_pairs_and_the_classes_that_are_missing(judged, tmp_path):
    *_, board, found = judged
    (section,) = judging.sections([found], board)
    assert "ones's samples can be told" in section.words[1] and "knows its training rows" in section.words[1]
    pairs, shares, missing = section.pictures.values()
    assert "ones: drawn, and below" in pairs.axes[0].get_title()
    assert len(shares.axes[0].containers) == 2
    stars = [text.get_text() for text in shares.axes[0].texts]
    assert stars == ["*"] * len(board.quality["ones"].modes.missing)
    assert "ones misses 0" in [ax.get_title() for ax in missing.axes]
    write(tmp_path / "report.html", "ones", [], [section])
    assert (tmp_path / "report.html").read_text().count("data:image/png") == 3


def test_a_pair_is_drawn_above_its_row():
    drawn, rows = torch.zeros(3, 2, 2), torch.ones(3, 2, 2)
    sheet = figures.pairs({"mine": (drawn, rows)}).axes[0].images[0].get_array()
    assert float(sheet[1:3].max()) == 0 and float(sheet[4:6].min()) == 1


def test_all_else_is_judged_by_its_values():
    for name in ("two_moons", "iris"):
        data = load(name)
        model = zoo.build("standard_gaussian", event_shape=data.event_shape)
        assert judging.measures(Task(model, data)) == (VALUES, None)
    assert judging.sections([], None) == []
