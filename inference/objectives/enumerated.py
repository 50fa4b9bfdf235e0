"""The evidence lower bound of codes, each value of them summed."""

from __future__ import annotations

from torch import Tensor

from inference.objectives.base import Loss, Objective, mean_terms
from inference.protocols import Enumerable, by_row


class Enumerated(Objective):
    """-sum_z q(z | x) [log p(x, z) - log q(z | x)], the mean over the rows, in nats: no draw is made.

    It is Pyro's `TraceEnum_ELBO` with the codes enumerated in the guide, and bounds log p(x), which the same sum over z
    gives exactly; their difference is KL(q(z | x) || p(z | x)).
    """

    asks = Enumerable

    def forward(self, model: Enumerable, x: Tensor, context: Tensor | None = None) -> Loss:
        log_q, log_prior = enumerated(model, x, context)
        joint = by_row(model.log_joint(x, context), tuple(log_q.shape), model, "log_joint")
        q = log_q.exp()
        value = (q * (log_q - joint)).sum(-1).mean()
        kl = (q * (log_q - log_prior)).sum(-1).mean()
        return Loss(value, mean_terms(loss=value, reconstruction=value - kl, kl=kl))


def enumerated(model: Enumerable, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """log q(z | x) and log p(z) of every value of z, [N, K] (the prior [K] where it is the same for all rows)."""
    z = model.codebook
    beside = z.unsqueeze(1).expand(len(z), len(x), *z.shape[1:])
    prior = model.prior(context)
    log_prior = prior.log_prob(beside).mT if prior.batch_shape else prior.log_prob(z)
    return model.encoder(x, context).log_prob(beside).mT, log_prior
