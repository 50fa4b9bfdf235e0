"""The demo, a few steps of it: every kind of model, one scoreboard, and the clinic's questions."""

import json

import torch

import zoo
from zoo.app.demo import TABLES, ask_asia, demo


def test_a_short_demo_leaves_every_model_and_one_report(tmp_path):
    said: list[str] = []
    report = demo(tmp_path / "demo", say=said.append, shorten=0.002)
    scores = json.loads((tmp_path / "demo" / "scores.json").read_text())
    assert set(scores) == set(TABLES)
    assert {row["kind"] for row in scores.values()} == {"explicit", "latent variable", "energy based", "implicit"}
    assert scores["gan"]["nats"] is None and scores["rbm"]["likelihood"] == "exact"
    for name in TABLES:
        assert zoo.load(tmp_path / "demo" / name).sample(2).shape == torch.Size([2, 64])
    html = report.read_text()
    assert html.count("data:image/png;base64,") >= 9 and "lung cancer" in html
    assert "most probable states given smoke = yes, dysp = yes, xray = yes: exact" in html
    assert str(report) in said[-1]


def test_the_clinic_s_answers_are_those_of_the_published_network():
    answers = ask_asia(lambda sentence: None)
    lung = {q: float(a.values["lung"].sel(lung="yes")) for q, a in answers.items()}
    assert abs(lung["nothing known"] - 0.055) < 1e-9
    assert abs(lung["if nobody smoked"] - 0.01) < 1e-9
    assert abs(lung["if everybody smoked"] - 0.10) < 1e-9
