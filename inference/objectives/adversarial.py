from inference.objectives.base import Objective


class NonSaturating(Objective): ...
