"""Games of other losses than the non-saturating one: least squares, hinge, Wasserstein, relativistic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from inference.objectives.adversarial import Game, Smoothed


class LeastSquares(Smoothed):
    """The least-squares game: the critic answers 1 to real rows and 0 to made ones, the generator wants a 1.

    With s = smoothing,

        critic:     E_real[(c(x) - 1 + s)^2] / 2 + E_noise[c(g(z))^2] / 2
        generator:  E_noise[(c(g(z)) - 1)^2] / 2

    Parameters:
        smoothing: one-sided, by how much the label of a real row is below 1.
        generator_every, penalty, also: as for every `Game`.

    References:
        Least Squares Generative Adversarial Networks (Mao et al., 2017), https://arxiv.org/abs/1611.04076
    """

    def critic_value(self, real: Tensor, made: Tensor) -> Tensor:
        return 0.5 * ((real - (1 - self.smoothing)).square().mean() + made.square().mean())

    def generator_value(self, made: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return 0.5 * (made - 1).square().mean()

    def unit(self, model: Any) -> str:
        return "half a square error of a label"


class Hinge(Game):
    """The hinge game: the critic pushes real rows above 1 and made ones below -1, and no further.

        critic:     E_real[max(0, 1 - c(x))] + E_noise[max(0, 1 + c(g(z)))]
        generator:  E_noise[-c(g(z))]

    References:
        Geometric GAN (Lim and Ye, 2017), https://arxiv.org/abs/1705.02894
    """

    def critic_value(self, real: Tensor, made: Tensor) -> Tensor:
        return F.relu(1 - real).mean() + F.relu(1 + made).mean()

    def generator_value(self, made: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return -made.mean()

    def unit(self, model: Any) -> str:
        return "the critic's margin"


class Wasserstein(Game):
    """The Wasserstein game: of a critic whose slope is at most 1, minus its loss is the distance of rows and data.

        critic:     E_noise[c(g(z))] - E_real[c(x)]
        generator:  E_noise[-c(g(z))]

    in units of x. What keeps the slope is a `penalty` (`GradientPenalty` in the second paper) or the critic's own
    layers (spectral normalisation); with neither the critic grows without bound.

    References:
        Wasserstein GAN (Arjovsky et al., 2017), https://arxiv.org/abs/1701.07875
        Improved Training of Wasserstein GANs (Gulrajani et al., 2017), https://arxiv.org/abs/1704.00028
    """

    def critic_value(self, real: Tensor, made: Tensor) -> Tensor:
        return made.mean() - real.mean()

    def generator_value(self, made: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return -made.mean()

    def unit(self, model: Any) -> str:
        return "units of x"


class Relativistic(Game):
    """The relativistic game of pairs: the critic says which of two rows is the real one.

        critic:     E[-log sigmoid(c(x) - c(g(z)))]
        generator:  E[-log sigmoid(c(g(z)) - c(x))]

    in nats a pair, of a real row and a made one (of the same context): a generator can't win by a few good rows, as
    each is compared with a real row of its own. With `R1` it is known to converge near the data.

    References:
        The relativistic discriminator (Jolicoeur-Martineau, 2018), https://arxiv.org/abs/1807.00734: its RSGAN
        The GAN is dead; long live the GAN! (Huang et al., 2024), https://arxiv.org/abs/2501.05441
    """

    def critic_value(self, real: Tensor, made: Tensor) -> Tensor:
        return F.softplus(made - real).mean()

    def generator_value(self, made: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return F.softplus(real() - made).mean()

    def unit(self, model: Any) -> str:
        return "nats a pair"
