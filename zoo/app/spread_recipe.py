"""An outbreak of one's own in a spec: what spreads, what is believed of it, and what is counted.

[program.spread]
compartments = "seir"                       # si, sis, sir, seir, sirs, daley_kendall, maki_thompson, bass; or as below
start = {S = 762, I = 1}                    # numbers, one for each group, or priors
observes = "I"                              # a compartment; or ["S", "I"], the new events of a transition
times = 14                                  # days 1, ..., 14; or the times themselves
[program.spread.priors]                     # of each rate; as `zoo.app.spread_priors` has it
beta = {name = "positive_normal", mean = 2.0, sd = 1.0}
sigma = 0.5
gamma = {name = "piecewise", prior = {name = "exponential", rate = 2.0}, at = [7]}
[program.spread.reporting]                  # unless told: negative_binomial
name = "poisson"
share = 0.8

compartments = {name = "sir", vaccination = true, groups = ["young", "old"], contacts = [[3, 1], [1, 2]]}
compartments = {names = ["S", "I", "R"], transitions = [{source = "S", target = "I", rate = "beta", by = "I"},
                                                        {source = "I", target = "R", rate = "gamma"}]}
"""

from __future__ import annotations

from typing import Any

from zoo.app.recipe import as_table
from zoo.app.settings import called
from zoo.app.spread_priors import each, heads, number_or_prior, rate, told_at
from zoo.registry import near
from zoo.spec import SpecError, check, in_short
from zoo.spread import Binomial, NegativeBinomial, Normal, Outbreak, Poisson, Transition, ready
from zoo.spread.compartments import Compartments
from zoo.spread.reporting import Reporting

DISEASES = {each.__name__: each for each in (ready.si, ready.sis, ready.sir, ready.seir, ready.sirs)}
OTHERS = {each.__name__: each for each in (ready.daley_kendall, ready.maki_thompson, ready.bass)}
COMPARTMENTS = {**DISEASES, **OTHERS}
REPORTING = {"poisson": Poisson, "negative_binomial": NegativeBinomial, "binomial": Binomial, "normal": Normal}
OF_DISEASES = ("births_and_deaths", "vaccination")


def ready_made(
    births_and_deaths: bool = False,
    vaccination: bool = False,
    groups: list[str] | None = None,
    contacts: list[list[float]] | None = None,
    travel: list[list[float]] | None = None,
) -> None:
    """What a spec may say of ready compartments beside their name."""


def asked(
    compartments: Any,
    start: Any,
    priors: Any,
    observes: str | tuple[str, str],
    times: int | list[float],
    reporting: Any = "negative_binomial",
    begin: float = 0.0,
    population: float | list[float] | None = None,
    delay: list[float] | None = None,
) -> dict[str, Any]:
    """What [program.spread] may say."""
    return locals()


def outbreak(given: Any, path: str = "program.spread") -> Outbreak:
    """A checked table as an outbreak."""
    table = asked(**check(as_table(given, path), asked, path, of="of a spread"))
    with told_at(path):
        return Outbreak(
            compartments(table["compartments"], f"{path}.compartments"),
            each(table["start"], f"{path}.start", heads),
            each(table["priors"], f"{path}.priors", rate),
            observes=table["observes"],
            times=range(1, table["times"] + 1) if isinstance(table["times"], int) else table["times"],
            reporting=_reporting(table["reporting"], f"{path}.reporting"),
            begin=table["begin"],
            population=table["population"],
            delay=table["delay"],
        )


def compartments(given: Any, path: str) -> Compartments:
    """Ready compartments by their name, or one's own by their names and transitions."""
    table = as_table(given, path, "name")
    if "names" in table:
        return _own(table, path)
    name = table.pop("name", None)
    if name is None:
        raise SpecError(f'{path} needs a name, such as "sir", or names and transitions')
    if not isinstance(name, str) or name not in COMPARTMENTS:
        raise SpecError(f"{path} is {in_short(name)}, which is not known here{near(str(name), COMPARTMENTS)}")
    known = check(table, ready_made, path, of=f"of {name}", skip=() if name in DISEASES else OF_DISEASES)
    with told_at(path):
        return COMPARTMENTS[name](**known)


def _own(table: dict[str, Any], path: str) -> Compartments:
    if isinstance(moves := table.get("transitions"), list):
        table["transitions"] = [_transition(move, f"{path}.transitions[{i}]") for i, move in enumerate(moves)]
    known = check(table, Compartments.__init__, path, of="of compartments")
    with told_at(path):
        return Compartments(**known)


def _transition(given: Any, path: str) -> Transition:
    """A birth is without a source, a death without a target."""
    known = check({"source": None, "target": None, **as_table(given, path)}, Transition, path, of="of a transition")
    with told_at(path):
        return Transition(**known)


def _reporting(given: Any, path: str) -> Reporting:
    table = as_table(given, path, "name")
    made: Reporting = called({"name": table.pop("name", None)}, path, REPORTING)
    if unknown := [key for key in table if key not in made.given()]:
        raise SpecError(f"{path}.{unknown[0]} is not a parameter here: there are {', '.join(made.given())}")
    with told_at(path):
        return type(made)(**each(table, path, number_or_prior))
