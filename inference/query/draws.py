"""What a model says of x before anything is seen: draws."""

from __future__ import annotations

import numpy as np
import xarray as xr

from inference.asking import asking
from inference.protocols import Pair, Samples, given_context, offers
from inference.query.answer import Answer
from inference.query.question import Question


def answers(question: Question) -> bool:
    asked = question.targets == ("x",) and not question.given and not question.do
    return asked and (offers(question.model, Samples) or offers(question.model, Pair))


def answer(question: Question) -> Answer:
    """`draws` rows of x (one for each row of the context, where there is one)."""
    model, context = question.model, question.context
    n = question.draws if context is None or len(context) == 1 else len(context)
    with asking(model, question.seed):
        draw = model.sample if offers(model, Samples) else model.model
        x = given_context(draw, context)(n=n)
    dims = ["draw", *(f"x_dim_{i}" for i in range(x.dim() - 1))]
    coords = {dim: np.arange(size) for dim, size in zip(dims, x.shape, strict=True)}
    values = xr.DataArray(x.cpu().numpy(), dims=dims, coords=coords, name="value")
    return Answer(str(question), {"x": values}, f"{n} draws of the model", "estimate")
