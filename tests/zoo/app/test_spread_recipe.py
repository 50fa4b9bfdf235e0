"""Outbreaks that a spec declares: each is the one that Python declares, and each mistake is told by its path."""

import re
import tomllib

import pyro.distributions as dist
import pytest
import torch

from inference.program import Program
from zoo import spread
from zoo.app import cli
from zoo.app.spread_recipe import outbreak
from zoo.spec import SpecError
from zoo.spread import Outbreak, Piecewise, PositiveNormal, RandomWalk, Transition

AGES = """
compartments = {name = "seir", groups = ["young", "old"], contacts = [[3, 1], [1, 2.5]], travel = [[0, 0.1], [0.2, 0]]}
start = {E = [4, 0], I = [1, 0]}
population = [500, 300]
observes = ["E", "I"]
times = [1, 2, 4, 5]
delay = [0.5, 0.5]
reporting = {name = "poisson", share = 0.5}
[priors]
beta = {name = "piecewise", prior = {name = "positive_normal", mean = 1.0, sd = 1.0}, at = [3]}
sigma = {name = "random_walk", first = {name = "gamma", shape = 2.0, rate = 4.0}, scale = 0.2, at = [2, 4]}
gamma = 0.5
"""
RUMOUR = """
compartments = "maki_thompson"
start = {spreader = {name = "exponential", rate = 0.1}}
population = 1000
observes = "stifler"
times = 3
[priors]
beta = {name = "random_walk", first = {name = "beta", a = 2, b = 3}, scale = {name = "exponential", rate = 2}, at = [1]}
gamma = {name = "uniform", low = 0, high = 1}
"""
OWN = """
start = {S = 990, I = 10}
observes = ["S", "I"]
times = 4
[compartments]
names = ["S", "I", "D"]
transitions = [
    {target = "S", rate = "mu"},
    {source = "S", target = "I", rate = "beta", by = ["I", "D"]},
    {source = "I", target = "D", rate = "gamma"},
    {source = "D", rate = "mu"},
]
[priors]
mu = 0.1
beta = {name = "log_normal", mean = 0.0, sd = 0.5}
gamma = 0.5
"""


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def ages():
    groups = {"groups": ("young", "old"), "contacts": [[3.0, 1.0], [1.0, 2.5]], "travel": [[0.0, 0.1], [0.2, 0.0]]}
    rates = {
        "beta": Piecewise(PositiveNormal(1, 1), [3]),
        "sigma": RandomWalk(dist.Gamma(number(2.0), number(4.0)), 0.2, [2, 4]),
        "gamma": 0.5,
    }
    return Outbreak(
        spread.seir(**groups), {"E": [4, 0], "I": [1, 0]}, rates, observes=("E", "I"), times=[1, 2, 4, 5],
        population=[500, 300], delay=[0.5, 0.5], reporting=spread.Poisson(share=0.5),
    )  # fmt: skip


def rumour():
    walk = RandomWalk(dist.Beta(number(2.0), number(3.0)), dist.Exponential(number(2.0)), [1])
    rates = {"beta": walk, "gamma": dist.Uniform(number(0.0), number(1.0))}
    start = {"spreader": dist.Exponential(number(0.1))}
    return Outbreak(spread.maki_thompson(), start, rates, observes="stifler", times=[1, 2, 3], population=1000)


def own():
    moves = [
        Transition(None, "S", "mu"), Transition("S", "I", "beta", by=("I", "D")), Transition("I", "D", "gamma"),
        Transition("D", None, "mu"),
    ]  # fmt: skip
    rates = {"mu": 0.1, "beta": dist.LogNormal(number(0.0), number(0.5)), "gamma": 0.5}
    made = spread.Compartments("SID", moves)
    return Outbreak(made, {"S": 990, "I": 10}, rates, observes=("S", "I"), times=[1, 2, 3, 4])


AGES_SEEN = [[1, 0], [3, 1], [6, 2], [9, 4]]
AT = {
    "ages": {"beta": number([0.8, 1.3]), "sigma_first": number(0.4), "sigma_steps": number([0.3, -0.2])},
    "rumour": {
        "beta_first": number(0.4), "beta_scale": number(0.7), "beta_steps": number([0.5]), "gamma": number(0.6),
        "spreader0": number(12.0), "phi_inv": number(0.3),
    },
    "own": {"beta": number(0.9), "phi_inv": number(0.2)},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "written", "declared", "cases"),
    [("ages", AGES, ages, AGES_SEEN), ("rumour", RUMOUR, rumour, [2, 4, 9]), ("own", OWN, own, [9, 20, 60, 90])],
)
def test_what_is_written_has_the_density_of_what_python_declares(name, written, declared, cases):
    arguments = {"cases": number(cases)}
    one, other = (
        float(Program.of(made, arguments).log_joint(AT[name]))
        for made in (outbreak(tomllib.loads(written)), declared())
    )
    assert one == other and abs(one) < 1e4


def test_bass_and_daley_kendall_are_ready():
    table = tomllib.loads(RUMOUR)
    assert str(outbreak(table | {"compartments": "daley_kendall"}).compartments) == str(spread.daley_kendall())
    told = {"p": 0.03, "q": {"name": "exponential", "rate": 1.0}}
    bass = {"compartments": "bass", "start": {}, "population": 10, "observes": "adopter", "times": 3, "priors": told}
    assert str(outbreak(bass).compartments) == str(spread.bass())


@pytest.mark.parametrize(
    ("text", "old", "new", "said"),
    [
        (AGES, "[[3, 1], [1, 2.5]]", "[[3, 1]]", "x.compartments: contacts of 2 groups is [2, 2], not [1, 2]"),
        (AGES, "[[3, 1], [1, 2.5]]", "[[3, 1], [1]]", "x.compartments: contacts must be numbers"),
        (AGES, "[[3, 1], [1, 2.5]]", '[[3, 1], ["a", 2]]', "x.compartments.contacts is .*, but a list of lists of num"),
        (AGES, "[[0, 0.1]", "[[0, -0.1]", "x.compartments: travel must be finite and not negative, but there is -0.1"),
        (AGES, "travel", "travels", "x.compartments.travels is not a parameter of seir; did you mean travel"),
        (AGES, '["young", "old"]', '["young", "young"]', "x.compartments: groups differ .* young is there twice"),
        (AGES, '["young", "old"]', "[]", "x.compartments: groups are needed, and none is given"),
        (AGES, '["young", "old"]', '"young"', "x.compartments.groups is 'young', but a list of texts was expected"),
        (AGES, "E = [4, 0]", "E = [4, 0, 0]", "x: heads of E at the start are .* young, old"),
        (AGES, "E = [4, 0]", 'E = [4, "0"]', "x.start.E[1] is '0', but a number was expected"),
        (AGES, "[500, 300]", "800", "x: the population is a number for each of young, old"),
        (AGES, "[500, 300]", '"all"', "x.population is 'all', but a number or a list of numbers was expected"),
        (AGES, 'observes = ["E", "I"]', 'observes = ["E"]', "x.observes is ['E'], but a text or a list of 2 val"),
        (AGES, "times = [1, 2, 4, 5]", "times = 0", "x: times are numbers that increase"),
        (AGES, "times = [1, 2, 4, 5]", 'times = "week"', "x.times is 'week', but a whole number or a list of numbers"),
        (AGES, "share = 0.5", "share = 1.5", "x.reporting: share of Poisson is a share from 0 to 1, not 1.5"),
        (AGES, "at = [3]", "at = 3", "x.priors.beta.at is 3, but a list of numbers was expected"),
        (AGES, ", at = [3]", "", "x.priors.beta.at is missing: a list of numbers is needed"),
        (AGES, "at = [2, 4]", "at = [4, 2]", "x.priors.sigma: the times at which a rate changes must increase"),
        (AGES, "at = [2, 4]", "at = []", "x.priors.sigma: a random walk changes at one time at least"),
        (AGES, "scale = 0.2", 'scale = "0.2"', "x.priors.sigma.scale is '0.2', but a number or a prior was expected"),
        (AGES, "first =", "frst =", "x.priors.sigma.frst is not a parameter here; did you mean first"),
        (AGES, 'name = "gamma", shape', 'name = "gama", shape', "x.priors.sigma.first.name is 'gama'.* did you mean g"),
        (AGES, '"piecewise"', '"piecewize"', "x.priors.beta.name is 'piecewize'.* did you mean piecewise"),
        (AGES, '"piecewise"', '["piecewise"]', "x.priors.beta.name is ['piecewise'], which is not known here"),
        (AGES, "sd = 1.0", "sd = -1.0", "x.priors.beta.prior: the sd of a PositiveNormal is above 0, not -1.0"),
        (AGES, "gamma = 0.5", "gamma = inf", "x.priors.gamma is inf, but a number or a prior was expected"),
        (RUMOUR, '{name = "beta", a = 2, b = 3}', "0.5", "x.priors.beta.first is 0.5, but a prior was expected"),
        (RUMOUR, '"maki_thompson"', '"maki"', "x.compartments is 'maki', which is not known here; .* maki_thompson"),
        (RUMOUR, '"maki_thompson"', '{name = "bass", vaccination = true}', "x.compartments.vaccination is not a param"),
        (RUMOUR, '"maki_thompson"', '{vaccination = true}', 'x.compartments needs a name, such as "sir", or names and'),
        (RUMOUR, "rate = 0.1", "rate = -1", "x.start.spreader: .* GreaterThan"),
        (OWN, 'source = "S"', 'sorce = "S"', "x.compartments.transitions[1].sorce is not .* did you mean source"),
        (OWN, '"D", rate', '"B", rate', "x.compartments: the transition I -> B names 'B', which is no compartment"),
        (OWN, ', rate = "beta"', "", "x.compartments.transitions[1].rate is missing: a text is needed"),
        (OWN, 'target = "S", ', "", "x.compartments.transitions[0]: the transition birth -> death has no source"),
        (OWN, 'by = ["I", "D"]', "by = 3", "x.compartments.transitions[1].by is 3, but a text or"),
        (OWN, '["S", "I", "D"]', '["S", "I", "D", "S"]', "x.compartments: compartments differ .* S is there twice"),
        (OWN, '["S", "I", "D"]', "3", "x.compartments.names is 3, but a text or a list of texts was expected"),
        (OWN, "transitions = [", "moves = [", "x.compartments.moves is not a parameter of compartments"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_by_its_path(text, old, new, said):
    assert old in text
    with pytest.raises(SpecError) as error:
        outbreak(tomllib.loads(text.replace(old, new, 1)), "x")
    assert re.match(".*".join(map(re.escape, said.split(".*"))), " ".join(str(error.value).split()))


def test_no_transitions_are_no_compartments():
    with pytest.raises(SpecError, match=r"x\.compartments: transitions are needed, and none is given"):
        outbreak(tomllib.loads(OWN) | {"compartments": {"names": "SI", "transitions": []}}, "x")


GROUPS = """
compartments = {name = "sir", groups = ["young", "old"], contacts = [[3, 1], [1, 2.5]]}
start = {S = [499, 300], I = [1, 0]}
observes = "I"
times = 2
reporting = "poisson"
[priors]
beta = {name = "piecewise", prior = {name = "positive_normal", mean = 1.0, sd = 1.0}, at = [1]}
gamma = 0.5
"""
READY = """
compartments = "NAME"
start = {}
population = 100
observes = "SEEN"
times = 3
reporting = "poisson"
[priors]
ONE = {name = "beta", a = 1.0, b = 9.0}
OTHER = 0.5
"""
BASS = {"NAME": "bass", "SEEN": "adopter", "ONE": "p", "OTHER": "q"}
CALLS = {"NAME": "maki_thompson", "SEEN": "spreader", "ONE": "gamma", "OTHER": "beta", "{}": "{spreader = 5}"}


def filled(text, values):
    for key, value in values.items():
        text = text.replace(key, value)
    return text


def test_the_help_of_run_shows_what_can_be_read():
    groups, start, moves, piecewise, walk = (tomllib.loads(line.strip()) for line in cli.VARIANTS.splitlines()[1:])
    common = {"observes": "I", "times": 21}
    more = {"priors": {**piecewise, "gamma": 0.5}}
    assert outbreak({**groups, **start, **more, **common}).compartments.groups == ("young", "old")
    assert outbreak({**moves, "start": {"S": 9, "I": 1}, "priors": walk, **common}).changes == [7, 14]


RUNS = {
    "groups": (GROUPS, "[[3, 1], [nan, nan]]", "R0 is "),
    "rumour": (filled(READY, CALLS), "[7, 11, 16]", "heads are reached until the last time"),
    "bass": (filled(READY, BASS), "[10, 25, 45]", "The peak of the curve is "),
    "own": (OWN, "[9, 20, 60, 90]", "R0 is "),
}


@pytest.mark.parametrize("name", RUNS)
def test_each_runs_and_is_asked(tmp_path, capsys, name):
    text, cases, said = RUNS[name]
    table = text.replace("[priors]", "[program.spread.priors]").replace(
        "[compartments]", "[program.spread.compartments]"
    )
    spec = f"[program]\ndata = {{cases = {cases}}}\n[program.spread]\n{table}\n[laplace]\ndraws = 20\nstarts = 1\n"
    (tmp_path / "own.toml").write_text(spec)
    folder = str(tmp_path / "run")
    assert cli.main(["run", str(tmp_path / "own.toml"), "--out", folder]) == 0
    report = (tmp_path / "run" / "report.html").read_text()
    assert said in report and "nan to nan" not in report and ("R(t)" in report) == (name != "bass")
    capsys.readouterr()
    assert cli.main(["query", folder, "--find", "curve", *(["R0"] if name != "bass" else [])]) == 0
    assert cli.main(["query", folder, "--find", "adopter" if name == "bass" else "saved", "--do", "contacts=0.5"]) == 0
    assert cli.main(["diagnose", folder]) == 0
    capsys.readouterr()
