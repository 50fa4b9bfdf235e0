"""A GAN of tables whose columns are numbers and states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from zoo.base import Implicit, Shape, as_shape
from zoo.coding import built
from zoo.critics import CriticNetwork
from zoo.gan_networks import GeneratorNetwork, Part, as_critic, as_generator
from zoo.tabular import Column, Table, TableCode, columns_of, gumbel


class TabularGAN(Implicit):
    """A GAN of rows of mixed types: numbers by their column's modes, states by relaxed choices.

        x = decode(g(z, context) + noise of the choices),   z ~ N(0, I), Gumbel noise for each choice

    Shapes: x is [N, columns], a number, or a state's code, for each column; context [N, *context_shape]. The noise is
    [N, latent + choices]. There is no likelihood. The critic sees rows as `zoo.tabular.TableCode` writes them:
    `shown(x)` real ones, and `imitate(noise, context)` made ones, their choices softened so that the generator learns
    through them. `TabularGAN.of(frame)` reads the columns off a frame, `encode_frame` and `decode` go from frames to
    rows and back.

    Parameters:
        columns: by name, "real" or "whole" numbers, or a column's states (or how many there are); all real unless told.
        latent: how many numbers z has.
        modes: the most modes that a column of numbers is taken apart by; those not needed are dropped.
        temperature: of the softened choices.
        hidden: widths of the default networks, the generator's and the critic's.
        generator, critic: networks to or from coded rows, as a `GAN` takes them.

    By default it is fitted by `Wasserstein(penalty=GradientPenalty(), generator_every=2)`; with `R1` in the penalty's
    place every game tried dropped rare states, or made too few of them.

    Reproducible: 133 wines of three growers (scikit-learn), seed 0, `fit(model, frame, steps=1500, lr=1e-3,
    average=0.995)` with Adam of betas (0, 0.9), 16 CPU s: 1,000 made rows teach a classifier to tell the grower of
    0.978 of 45 held-out wines, as the real rows do.

    References:
        Modeling Tabular Data using Conditional GAN (Xu et al., 2019), https://arxiv.org/abs/1907.00503
        Categorical Reparameterization with Gumbel-Softmax (Jang et al., 2017), https://arxiv.org/abs/1611.01144
    """

    capabilities = Implicit.capabilities | {"critic"}

    def __init__(
        self,
        event_shape: Shape | None = None,
        *,
        context_shape: Shape | None = None,
        columns: Mapping[str, Column] | None = None,
        latent: int = 32,
        modes: int = 10,
        temperature: float = 0.2,
        hidden: Sequence[int] = (128, 128),
        generator: Part | None = None,
        critic: Part | None = None,
    ) -> None:
        size = as_shape(event_shape)
        if columns is None:
            if size is None or len(size) != 1:
                raise ValueError("TabularGAN needs columns, or as its event_shape how many there are")
            columns = dict.fromkeys(map(str, range(size[0])), "real")
        if size is not None and size != torch.Size([len(columns)]):
            raise ValueError(f"the table has {len(columns)} columns, but event_shape is {list(size)}")
        if latent < 1:
            raise ValueError(f"latent must be at least 1, not {latent}")
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, not {temperature}")
        super().__init__(len(columns), context_shape=context_shape)
        self.table = Table(columns)
        self.code = TableCode(self.table, modes)
        self.latent, self.temperature = latent, temperature
        shapes: dict[str, Any] = {"context_shape": self.context_shape}
        coded = torch.Size([self.code.width])
        writer = partial(GeneratorNetwork, hidden=hidden) if generator is None else as_generator(generator)
        self.generator = built(writer, "generator", coded, latent=latent, **shapes)
        judge = partial(_critic, hidden=hidden) if critic is None else as_critic(critic)
        self.critic = built(judge, "critic", coded, **shapes)

    @classmethod
    def of(cls, frame: pd.DataFrame, **settings: Any) -> TabularGAN:
        """A GAN of such frames: categories, text and truth values are states."""
        return cls(columns=columns_of(frame), **settings)

    @property
    def variables(self) -> list[str]:
        return self.table.names

    def initialise(self, x: Tensor, context: Tensor | None = None) -> None:
        """Find, once in a model's life, the modes of each column of numbers."""
        self.code.initialise(x)

    def check(self, x: Tensor | None = None, context: Tensor | None = None) -> None:
        super().check(x, context)
        if x is not None:
            self.table.check(x)

    def encode_frame(self, frame: pd.DataFrame) -> Tensor:
        """x of a frame, whose columns are found by name."""
        return self.table.encode(frame)

    def decode(self, x: Tensor) -> pd.DataFrame:
        """Rows of x as a frame."""
        return self.table.decode(x)

    # ---- made rows, and rows as the critic sees them

    def noise(self, n: int) -> Tensor:
        normal = torch.randn(n, self.latent, device=self.device, dtype=self.dtype)
        return torch.cat([normal, gumbel(normal.new_empty(n, self.code.choices))], 1)

    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        return self.code.decode(*self._written(noise, context))

    def imitate(self, noise: Tensor, context: Tensor | None = None) -> Tensor:
        """The rows of `generate` as the critic sees them, [N, width]."""
        return self.code.choose(*self._written(noise, context), self.temperature)

    def shown(self, x: Tensor) -> Tensor:
        """Rows of data as the critic sees them, [N, width]."""
        return self.code.encode(x)

    def _written(self, noise: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        normal, chosen = noise.split([self.latent, self.code.choices], 1)
        return (self.generator(normal) if context is None else self.generator(normal, context)), chosen


def _critic(event_shape: Shape, *, context_shape: Shape | None, hidden: Sequence[int]) -> CriticNetwork:
    """A perceptron of any slope, without a last bias: it cancels in the differences that a Wasserstein critic tells."""
    critic = CriticNetwork(event_shape, context_shape=context_shape, hidden=hidden, norm="none", gain=1.0)
    critic.network[-1].register_parameter("bias", None)
    return critic
