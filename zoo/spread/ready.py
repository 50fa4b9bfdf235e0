"""Compartments by name: of a disease, of a rumour, of a product.

Rates a head and a unit of time: beta (contacts that infect, or tell), sigma (from exposed to infectious), gamma
(recovery, or stifling), xi (loss of immunity), nu (vaccination), mu (births and deaths). Each may change in time:
`{"beta": lambda day: 0.4 * (1 + 0.2 * math.cos(2 * math.pi * day / 365)), "gamma": 0.2}`.

Everything else that `Compartments` takes (groups, contacts, travel) is passed through: `sir(groups=("young", "old"),
contacts=[[3, 1], [1, 2]])`.

References:
    A contribution to the mathematical theory of epidemics (Kermack and McKendrick, 1927),
    https://doi.org/10.1098/rspa.1927.0118
    Infectious diseases of humans (Anderson and May, 1991)
"""

from __future__ import annotations

from typing import Any

from zoo.spread.compartments import Compartments
from zoo.spread.transitions import Transition

_INFECTION = Transition("S", "I", "beta", by="I")


def si(**more: Any) -> Compartments:
    """S -> I: nobody recovers. Rate beta; more as `sir` takes."""
    return _disease("SI", _INFECTION, **more)


def sis(**more: Any) -> Compartments:
    """S -> I -> S: nobody stays immune. Rates beta, gamma; more as `sir` takes."""
    return _disease("SI", _INFECTION, Transition("I", "S", "gamma"), **more)


def sir(**more: Any) -> Compartments:
    """S -> I -> R. Rates beta, gamma.

    Parameters:
        births_and_deaths: True: heads are born into S, and die in every compartment, at the rate mu each.
        vaccination: True: heads of S go to a further compartment V, which is immune, at the rate nu.
        groups, contacts, travel: as `Compartments` takes them.
    """
    return _disease("SIR", _INFECTION, Transition("I", "R", "gamma"), **more)


def seir(**more: Any) -> Compartments:
    """S -> E -> I -> R: who is infected infects only later. Rates beta, sigma, gamma; more as `sir` takes."""
    moves = Transition("S", "E", "beta", by="I"), Transition("E", "I", "sigma"), Transition("I", "R", "gamma")
    return _disease("SEIR", *moves, **more)


def sirs(**more: Any) -> Compartments:
    """S -> I -> R -> S: immunity wanes. Rates beta, gamma, xi; more as `sir` takes."""
    return _disease("SIR", _INFECTION, Transition("I", "R", "gamma"), Transition("R", "S", "xi"), **more)


def _disease(
    names: str, *moves: Transition, births_and_deaths: bool = False, vaccination: bool = False, **more: Any
) -> Compartments:
    if vaccination:
        names, moves = names + "V", (*moves, Transition("S", "V", "nu"))
    if births_and_deaths:
        moves = (*moves, Transition(None, "S", "mu"), *(Transition(name, None, "mu") for name in names))
    return Compartments(names, moves, **more)


def daley_kendall(**more: Any) -> Compartments:
    """A rumour: ignorants who meet a spreader spread it; a spreader who meets one who knows it is stifled.

    Two spreaders who meet are stifled both. Rates beta (an ignorant is told) and gamma (stifling); where they are the
    same, as in the paper, 20.3 per cent of many never hear of it.

    References:
        Stochastic rumours (Daley and Kendall, 1965), https://doi.org/10.1093/imamat/1.1.42
    """
    both = Transition("spreader", "stifler", "gamma", by="spreader", pairs=True)
    return _rumour(both, Transition("spreader", "stifler", "gamma", by="stifler"), **more)


def maki_thompson(**more: Any) -> Compartments:
    """A rumour by directed calls: only the spreader who calls one who knows it already is stifled.

    Rates as in `daley_kendall`.

    References:
        Mathematical models and applications (Maki and Thompson, 1973)
    """
    return _rumour(Transition("spreader", "stifler", "gamma", by=("spreader", "stifler")), **more)


def _rumour(*moves: Transition, **more: Any) -> Compartments:
    told = Transition("ignorant", "spreader", "beta", by="spreader")
    return Compartments(("ignorant", "spreader", "stifler"), (told, *moves), **more)


def bass(**more: Any) -> Compartments:
    """Adoption of a product: by oneself at the rate p (innovation), and from adopters at the rate q (imitation).

    References:
        A new product growth for model consumer durables (Bass, 1969), https://doi.org/10.1287/mnsc.15.5.215
    """
    alone, taught = Transition("potential", "adopter", "p"), Transition("potential", "adopter", "q", by="adopter")
    return Compartments(("potential", "adopter"), (alone, taught), **more)
