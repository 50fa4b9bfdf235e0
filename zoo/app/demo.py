"""`zoo demo`: a model of every kind on real digits, side by side; then a network asked what a clinic would ask."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

from inference.diagnostics.drawing import draw_network
from inference.query import Answer, query
from inference.scoreboard import Scoreboard
from zoo.app import execute, figures, judging, networks, report, telling
from zoo.app.recipe import Recipe, recipe
from zoo.app.runs import new_folder, refuse_existing
from zoo.app.telling import Found
from zoo.spec import build

VAE = {"family": "vae", "latent": 8, "hidden": [128, 128]}
QUIET = {"diagnose": False, "samples": 64}
TABLES: dict[str, dict[str, Any]] = {
    "mixture": {
        "data": {"name": "digits", "view": ["logit", "flat"]},
        "model": {"family": "gaussian_mixture", "components": 10},
        "ask": QUIET,
    },
    "realnvp": {
        "data": {"name": "digits", "view": ["logit", "flat"]},
        "model": {"family": "realnvp", "layers": 6, "hidden": 128},
        "fit": {"steps": 600, "batch_size": 256},
        "ask": QUIET,
    },
    "vae": {
        "data": {"name": "digits", "view": ["binarised", "flat"]},
        "model": VAE,
        "fit": {"steps": 1500},
    },
    "vae-flow-prior": {
        "data": {"name": "digits", "view": ["binarised", "flat"]},
        "model": {**VAE, "prior": {"family": "realnvp", "layers": 4, "hidden": 64}},
        "fit": {"steps": 1500},
    },
    "rbm": {
        "data": {"name": "digits", "view": ["binarised", "flat"]},
        "model": {"family": "rbm", "hidden": 16},
        "fit": {
            "epochs": 200,
            "batch_size": 20,
            "lr": 0.1,
            "optimizer": "descent",
            "schedule": {"name": "linear", "steps": 13600, "final": 0.02},
        },
        "ask": QUIET,
    },
    "gan": {
        "data": {"name": "digits", "view": ["unit", "flat"]},
        "model": {
            "family": "gan",
            "latent": 32,
            "bounds": [0.0, 1.0],
            "critic": {"kind": "mlp", "norm": "none", "gain": 1.0},
        },
        "fit": {
            "objective": {"name": "wasserstein", "generator_every": 5, "penalty": {"name": "gradient_penalty"}},
            "steps": 3140,
            "batch_size": 65,
            "lr": 2e-3,
            "average": 0.998,
            "optimizer": {"name": "adam", "betas": [0.0, 0.9]},
        },
        "ask": QUIET,
    },
}
WHAT = {
    "mixture": "ten Gaussians in 64 dimensions, by EM (exact density)",
    "realnvp": "a flow: noise bent into digits by invertible maps (exact density)",
    "vae": "a latent code of 8 numbers, a network that writes, one that reads (bound)",
    "vae-flow-prior": "the same, its prior a flow: a model in a slot of another",
    "rbm": "pixels and 16 hidden units that pull at each other (log Z summed)",
    "gan": "noise to digits, against a critic (no density at all)",
}
PATIENT: dict[Hashable, str] = {"smoke": "yes", "dysp": "yes", "xray": "yes"}
FINDINGS = ["lung", "tub", "bronc"]
QUESTIONS: dict[str, dict[str, dict[Hashable, str]]] = {
    "nothing known": {},
    "smokes, short of breath": {"given": {"smoke": "yes", "dysp": "yes"}},
    "... and the X-ray is abnormal": {"given": PATIENT},
    "... and back from Asia": {"given": {"smoke": "yes", "dysp": "yes", "xray": "yes", "asia": "yes"}},
    "if nobody smoked": {"do": {"smoke": "no"}},
    "if everybody smoked": {"do": {"smoke": "yes"}},
}


def demo(folder: Path, say: Callable[[str], None] = print, shorten: float = 1.0) -> Path:
    """Fit, compare, diagnose and ask; the path of the report. `shorten` scales the steps of every fit."""
    refuse_existing(folder)
    start = time.perf_counter()
    everything = _fit_all(recipes(shorten), say)
    say("\nOne scoreboard for all of them:")
    board = execute.scoreboard([found for _, found in everything])
    assert board is not None
    say(str(board))
    say("\nThen the network asia, asked what a clinic would ask:")
    answers = ask_asia(say)
    patient = networks.case("asia", [], PATIENT, {})
    explained = networks.explain(patient, best=2)
    say(textwrap.indent(explained, "    "))
    with new_folder(folder) as draft:
        for made, found in everything:
            inner = draft / found.name
            inner.mkdir()
            execute.leave(found, made, inner)
        execute.write_scores(board, draft)
        clinic = [*_clinic(answers), _patient(patient, explained)]
        _report(draft / "report.html", [found for _, found in everything], board, clinic)
    say(f"\nDone in {time.perf_counter() - start:.0f} seconds. Open {folder / 'report.html'}")
    return folder / "report.html"


def recipes(shorten: float = 1.0) -> list[Recipe]:
    """The recipes of the demo, their fits shortened where there is less time."""
    made = []
    for name, table in TABLES.items():
        settings = {
            key: max(1, round(value * shorten)) if key in ("steps", "epochs") else value
            for key, value in table.get("fit", {}).items()
        }
        made.append(recipe({**table, "fit": settings}, name))
    return made


def _fit_all(made: list[Recipe], say: Callable[[str], None]) -> list[tuple[Recipe, Found]]:
    say("Real handwritten digits, 8 x 8: 1,347 to learn from, 450 held out.\n")
    everything = []
    for one in made:
        say(f"{one.name}: {WHAT[one.name]}")
        found = execute.carry_out(execute.ready(one), say=lambda _: None)
        for sentence in telling.verdict(found):
            say(f"    {sentence}")
        everything.append((one, found))
    return everything


def ask_asia(say: Callable[[str], None]) -> dict[str, Answer]:
    """Every question put to the network asia."""
    network = build({"family": "bayesian_network", "network": "asia"})
    answers = {}
    for question, known in QUESTIONS.items():
        answers[question] = query(network, FINDINGS, given=known.get("given"), do=known.get("do"))
        say(f"    {question + ':':<32}{_in_words(answers[question])}")
    return answers


def _in_words(answer: Answer) -> str:
    names = {"lung": "lung cancer", "tub": "tuberculosis", "bronc": "bronchitis"}
    chances = {target: float(answer.values[target].sel({target: "yes"})) for target in FINDINGS}
    return ", ".join(f"{names[target]} {chance:.1%}" for target, chance in chances.items())


def _clinic(answers: dict[str, Answer]) -> list[report.Section]:
    words = [f"{question}: {_in_words(answer)}." for question, answer in answers.items()]
    method = next(iter(answers.values())).method
    chances = figures.answers({q: a.values for q, a in answers.items()})
    return [
        report.Section("A clinic asks the network asia", [*words, f"Found by {method}."],
                       pictures={"Chance of each finding, question by question.": chances})
    ]  # fmt: skip


def _patient(patient: networks.Case, explained: str) -> report.Section:
    """One patient: all that follows from what is known, drawn, and the likeliest explanation."""
    drawing = draw_network(patient.model, networks.answer(patient), patient.given)
    return report.Section(
        "A patient who smokes, is short of breath and has an abnormal X-ray",
        ["The states that are most probable together, and the next most probable:"],
        pictures={"What is known, and the probabilities that follow from it.": drawing},
        code=explained,
    )


def _report(path: Path, everything: list[Found], board: Scoreboard, clinic: list[report.Section]) -> None:
    diagnosed = [found for found in everything if found.diagnosis is not None]
    sections = [
        report.Section("One scoreboard", SCOREBOARD_WORDS, board.readable()),
        report.Section("What each of them draws", ["Real digits first."], pictures=telling.beside(everything)),
        *judging.sections(everything, board),
        *(
            report.Section(f"How far to trust {found.name}", telling.verdict(found)[1:],
                           telling.diagnosis_table(found), telling.pictures(found))
            for found in diagnosed
        ),
        *clinic,
        report.Section("How the others were fitted",
                       pictures={f"{found.name}: history of the fit.": figures.history(found.fit.history)
                                 for found in everything if found.diagnosis is None and len(found.fit.history) > 1}),
    ]  # fmt: skip
    lead = [sentence for found in everything for sentence in telling.likelihood_words(found)]
    gain = board.compare("vae-flow-prior", "vae")
    lead.append(f"Put in the VAE's slot for a prior, a flow changes its bound by {gain}, row by row.")
    report.write(path, "A model of every kind on handwritten digits", lead, sections, "made by zoo demo")


SCOREBOARD_WORDS = [
    "Compare like with like: densities of grey digits with each other, masses of binarised digits with each other; "
    "and distances of samples (Frechet, MMD) within grey digits or within binarised ones. For bits a dimension of "
    "grey digits, a uniform guess costs 4.09.",
]
