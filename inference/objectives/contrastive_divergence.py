from inference.objectives.base import Objective


class ContrastiveDivergence(Objective): ...
