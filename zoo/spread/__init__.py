"""Spread of a virus or a rumour, in a population and on a network."""

from zoo.spread.compartments import Compartments, Transition
from zoo.spread.course import Course
from zoo.spread.graph import Changing, Graph
from zoo.spread.graph_course import GraphCourse
from zoo.spread.on_graph import GraphSpread

__all__ = ["Changing", "Compartments", "Course", "Graph", "GraphCourse", "GraphSpread", "Transition"]
