"""Spread of a virus or a rumour, in a population and on a network."""

from zoo.spread.cascade import Cascade
from zoo.spread.compartments import Compartments, Transition
from zoo.spread.course import Course

__all__ = ["Cascade", "Compartments", "Course", "Transition"]
