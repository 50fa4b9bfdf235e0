"""Spread of a virus or a rumour, in a population and on a network.

what can happen             `si`, `sis`, `sir`, `seir`, `sirs`, `daley_kendall`, `maki_thompson`, `bass`, or
                            `Compartments` of one's own, each `Transition` named
in a population             `ode`, `binomial_chain`, `tau_leaping`, `gillespie`, `master_equation`: a `Course`
how contagious              `reproduction_number`, `effective_reproduction`, `growth_rate`, `final_size`
with priors and reports     `Outbreak` (`PositiveNormal`, `Piecewise`, `RandomWalk`; `NegativeBinomial`, `Poisson`,
                            `Binomial`, `Normal`); `HiddenCourse`, one whose course is by chance; `influenza`, `in_bed`
on a graph                  `Graph.of`, `Graph.read`, `ChangingGraph`; `GraphSpread`, `independent_cascade`,
                            `linear_threshold`: `simulate` gives a `GraphCourse`
families that `fit` takes   `SpreadCurve`, rates from case curves; `Cascade`, those of edges from when they passed
pictures                    `zoo.spread.pictures`: `draw_curves`, `draw_graph`, `animate` (a GIF)

`inference` asks them: `mcmc`, `query` (with `do=`), `best`, `history`, `particle_mcmc`, `forecast_scores`.
"""

from zoo.spread.cascade import Cascade
from zoo.spread.changing import Piecewise, RandomWalk
from zoo.spread.compartments import Compartments
from zoo.spread.course import Course
from zoo.spread.graph import ChangingGraph, Graph
from zoo.spread.graph_course import GraphCourse
from zoo.spread.hidden_course import HiddenCourse
from zoo.spread.influenza import in_bed, influenza
from zoo.spread.jumps import binomial_chain, gillespie, tau_leaping
from zoo.spread.master import master_equation
from zoo.spread.ode import ode
from zoo.spread.on_graph import GraphSpread
from zoo.spread.outbreak import Outbreak
from zoo.spread.ready import bass, daley_kendall, maki_thompson, seir, si, sir, sirs, sis
from zoo.spread.reporting import Binomial, NegativeBinomial, Normal, Poisson, PositiveNormal
from zoo.spread.rumours import independent_cascade, linear_threshold
from zoo.spread.spread_curve import SpreadCurve
from zoo.spread.threshold import effective_reproduction, final_size, growth_rate, reproduction_number
from zoo.spread.transitions import Transition

__all__ = [
    "Binomial",
    "Cascade",
    "ChangingGraph",
    "Compartments",
    "Course",
    "Graph",
    "GraphCourse",
    "GraphSpread",
    "HiddenCourse",
    "NegativeBinomial",
    "Normal",
    "Outbreak",
    "Piecewise",
    "Poisson",
    "PositiveNormal",
    "RandomWalk",
    "SpreadCurve",
    "Transition",
    "bass",
    "binomial_chain",
    "daley_kendall",
    "effective_reproduction",
    "final_size",
    "gillespie",
    "growth_rate",
    "in_bed",
    "independent_cascade",
    "influenza",
    "linear_threshold",
    "maki_thompson",
    "master_equation",
    "ode",
    "reproduction_number",
    "seir",
    "si",
    "sir",
    "sirs",
    "sis",
    "tau_leaping",
]
