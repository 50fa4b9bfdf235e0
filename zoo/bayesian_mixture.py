"""Bayesian mixture of Gaussians."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

from zoo.base import Model, Shape


class BayesianGaussianMixture(Model):
    """Mixture of diagonal Gaussians whose parameters have priors.

    p(w) p(means) p(scales) prod_n sum_z w_z N(x_n; mean_z, scale_z).

    Sites: "weights" [K], "means" and "scales" [K, d], and in the plate "data" the component "z" (summed out)
    and "x". The guide is mean-field over the first three. A batch counts as `size` rows, so that
    minibatches estimate the whole ELBO without bias. Standardise x: the priors are about zero.

    Shapes: x is [N, *event_shape], its axes flattened inside. `elbo` is in nats a row.

    Parameters:
        size: how many rows the whole data has.
        components: how many Gaussians.
        concentration: of the Dirichlet prior of the weights; below 1, few components are used.
        spread: standard deviation of the normal prior of the means.
        width: standard deviation of the normal prior of the scales' logarithms.

    References:
        Pattern Recognition and Machine Learning, section 10.2 (Bishop, 2006)
    """

    kind = "latent variable"
    likelihood = "lower bound"
    refusals: ClassVar[Mapping[str, str]] = {
        "log_prob": "its likelihood integrates over the parameters; ask elbo, a lower bound",
        "distribution": "its likelihood integrates over the parameters; ask elbo, a lower bound",
    }

    def __init__(
        self,
        event_shape: Shape,
        *,
        size: int,
        context_shape: Shape | None = None,
        components: int = 8,
        concentration: float = 1.0,
        spread: float = 3.0,
        width: float = 1.0,
    ) -> None:
        if context_shape is not None:
            raise ValueError(f"BayesianGaussianMixture takes no context, but was given context_shape {context_shape}")
        super().__init__(event_shape)
        for name, value in (("size", size), ("components", components)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        for name, number in (("concentration", concentration), ("spread", spread), ("width", width)):
            if not number > 0:
                raise ValueError(f"{name} must be positive, not {number}")
        self.size, self.components = size, components
        self.concentration, self.spread, self.width = concentration, spread, width
        shape = (components, self.features)
        self.log_concentration = nn.Parameter(torch.full((components,), 1.0))
        self.means_loc = nn.Parameter(torch.randn(shape))
        self.means_log_scale = nn.Parameter(torch.full(shape, -2.0))
        self.scales_loc = nn.Parameter(torch.zeros(shape))
        self.scales_log_scale = nn.Parameter(torch.full(shape, -2.0))

    def model(self, x: Tensor | None = None, *, context: Tensor | None = None, n: int = 1) -> Tensor:
        self.check(x, context)
        zeros = torch.zeros_like(self.means_loc)
        weights = pyro.sample("weights", dist.Dirichlet(torch.full_like(zeros[:, 0], self.concentration)))
        means = pyro.sample("means", dist.Normal(zeros, self.spread).to_event(2))
        scales = pyro.sample("scales", dist.LogNormal(zeros, self.width).to_event(2))
        rows = None if x is None else x.flatten(1)
        count = n if rows is None else len(rows)
        factor = 1.0 if rows is None else self.size / count
        with pyro.poutine.scale(scale=factor), pyro.plate("data", count):
            z = pyro.sample("z", dist.Categorical(weights), infer={"enumerate": "parallel"})
            drawn = pyro.sample("x", dist.Normal(means[z], scales[z]).to_event(1), obs=rows)
        return drawn.reshape(-1, *self.event_shape)

    def guide(self, x: Tensor | None = None, *, context: Tensor | None = None) -> None:
        weights, means, scales = self.posteriors()
        pyro.sample("weights", weights)
        pyro.sample("means", means)
        pyro.sample("scales", scales)

    def posteriors(self) -> tuple[dist.TorchDistribution, dist.TorchDistribution, dist.TorchDistribution]:
        """What the guide holds for the weights, the means and the scales."""
        return (
            dist.Dirichlet(self.log_concentration.exp()),
            dist.Normal(self.means_loc, self.means_log_scale.exp()).to_event(2),
            dist.LogNormal(self.scales_loc, self.scales_log_scale.exp()).to_event(2),
        )

    def elbo(self, x: Tensor, *, draws: int = 1) -> Tensor:
        """The bound on log p(data) / size, by `draws` of the guide, z summed out: a scalar."""
        estimate = TraceEnum_ELBO(num_particles=draws, max_plate_nesting=1)
        return -estimate.differentiable_loss(self.model, self.guide, x) / self.size

    @torch.no_grad()
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor:
        """Draws of the posterior predictive: each row from parameters of its own."""
        self.check(context=context)
        weights, means, scales = (posterior.sample((n,)) for posterior in self.posteriors())
        z = torch.multinomial(weights, 1).squeeze(-1)
        row = torch.arange(n, device=z.device)
        return torch.normal(means[row, z], scales[row, z]).reshape(n, *self.event_shape)
