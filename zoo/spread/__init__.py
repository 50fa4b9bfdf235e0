"""Spread of a virus or a rumour, in a population and on a network."""

from zoo.spread.cascade import Cascade
from zoo.spread.compartments import Compartments, Transition
from zoo.spread.course import Course
from zoo.spread.graph import Changing, Graph
from zoo.spread.jumps import binomial_chain, gillespie, tau_leaping
from zoo.spread.master import master_equation
from zoo.spread.ode import ode

__all__ = [
    "Compartments",
    "Course",
    "Transition",
    "binomial_chain",
    "gillespie",
    "master_equation",
    "Cascade",
    "Changing",
    "Compartments",
    "Course",
    "Graph",
    "Transition",
    "binomial_chain",
    "gillespie",
    "ode",
    "tau_leaping",
]
