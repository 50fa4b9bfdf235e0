"""Labels told to conditional models of a spec: what they are told, what is drawn, what made rows teach, bad specs."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from inference.quality import VALUES
from zoo.app.asking import sample
from zoo.app.execute import compare, run
from zoo.app.labels import classes_of, useful
from zoo.app.recipe import prepare, recipe
from zoo.datasets import Split
from zoo.spec import SpecError

SPEC = {"data": {"name": "iris", "context": "labels"}, "model": {"family": "gaussian", "hidden": [8]}}


def spec(**changes: dict) -> dict:
    return {key: {**SPEC.get(key, {}), **changes.get(key, {})} for key in {*SPEC, *changes}}


def test_a_class_is_told_one_hot_or_as_a_code() -> None:
    task = prepare(recipe(SPEC, "iris"))
    y = task.data.train.y
    assert task.model.context_shape == torch.Size([3])
    assert torch.equal(task.rows["context"].argmax(1), y) and (task.rows["context"].sum(1) == 1).all()
    assert task.any_context(5).argmax(1).tolist() == [0, 1, 2, 0, 1]
    part = {"kind": "mlp", "conditioner": {"kind": "classes", "levels": 3}}
    gan = {"family": "gan", "context_shape": [], "generator": part, "critic": part}
    coded = prepare(recipe({"data": SPEC["data"], "model": gan}, "iris"))
    assert torch.equal(coded.rows["context"], y) and coded.any_context(4).tolist() == [0, 1, 2, 0]


def test_a_run_tells_it_everywhere_and_a_comparison_shows_what_made_rows_teach(tmp_path: Path) -> None:
    table = spec(fit={"steps": 300, "lr": 0.02}, ask={"samples": 6})
    report = run(recipe(table, "iris"), tmp_path / "one", say=lambda text: None)
    assert "Do made rows teach?" in report.read_text()
    sample(tmp_path / "one", 30, tmp_path / "rows.csv", seed=0)
    drawn = pd.read_csv(tmp_path / "rows.csv")
    by_class = [drawn.iloc[i::3].mean() for i in range(3)]  # one class after the other
    assert by_class[0].iloc[2] < 2.5 < by_class[1].iloc[2] < by_class[2].iloc[2]  # petals' lengths
    other = spec(fit={"steps": 1})
    report = compare([recipe(table, "good"), recipe(other, "bad")], tmp_path / "two", say=lambda text: None)
    assert "good" in report.read_text() and "Do made rows teach?" in report.read_text()


def test_made_rows_of_a_good_model_teach_as_real_ones_do_and_of_shuffled_labels_do_not() -> None:
    class Nature(torch.nn.Module):
        """Two classes far apart, by their codes."""

        context_shape, dtype, shift = torch.Size([]), torch.float32, 0

        def sample(self, n: int = 1, *, context: torch.Tensor) -> torch.Tensor:
            return torch.randn(n, 2) + 5.0 * ((context + self.shift) % 2)[:, None]

    torch.manual_seed(0)
    data = prepare(recipe(SPEC, "iris")).data
    nature, y = Nature(), torch.arange(200) % 2
    rows = type(data.train)(nature.sample(200, context=y), y)
    two = type(data)("two", "", rows, rows)
    good = useful(nature, two, VALUES, 2, 0)  # type: ignore[arg-type]
    nature.shift = 1
    wrong = useful(nature, two, VALUES, 2, 0)  # type: ignore[arg-type]
    assert good.real.value > 0.98 and good.synthetic.value > 0.98 and wrong.synthetic.value < 0.02


def test_a_column_of_a_file_is_the_class(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    pd.DataFrame({"a": range(20), "b": [0.5, 1.0] * 10, "kind": ["y", "x"] * 10}).to_csv(path, index=False)
    task = prepare(recipe({"data": {"csv": str(path), "context": "kind"}, "model": "gaussian"}, "x"))
    assert task.data.class_names == ("x", "y") and task.data.feature_names == ("a", "b")
    x = task.data.restore(task.data.train.x)
    assert torch.equal(task.data.train.y, (x[:, 1] < 0.75).long())
    with pytest.raises(SpecError, match="has no such column; did you mean kind"):
        prepare(recipe({"data": {"csv": str(path), "context": "kinds"}, "model": "gaussian"}, "x"))


def test_bad_specs_are_told() -> None:
    unlabelled = prepare(recipe({"data": "iris", "model": "gaussian"}, "iris")).data
    with pytest.raises(SpecError, match="has no labels"):
        classes_of(replace(unlabelled, train=Split(unlabelled.train.x)))
    with pytest.raises(SpecError, match='write context = "labels" in'):
        prepare(recipe({"data": "iris", "model": {"family": "gaussian", "context_shape": [3]}}, "x"))
    with pytest.raises(SpecError, match='"labels" was expected'):
        prepare(recipe({"data": {"name": "iris", "context": "y"}, "model": "gaussian"}, "x"))
    with pytest.raises(SpecError, match="takes a context of shape \\[2\\], but labels of 3 classes"):
        prepare(recipe(spec(model={"context_shape": [2]}), "x"))
