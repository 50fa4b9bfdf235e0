"""Spread of a virus or a rumour, in a population and on a network."""

from zoo.spread.compartments import Compartments, Transition
from zoo.spread.course import Course
from zoo.spread.ode import ode

__all__ = ["Compartments", "Course", "Transition", "ode"]
