"""WaveNet: an autoregressive model of sound, sample by sample, from dilated causal convolutions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.autoregressive import Autoregressive, Choose, check_codes
from zoo.base import Shape
from zoo.choosing import drawing
from zoo.dilated import DilatedNetwork
from zoo.networks import flat


def waves(levels: int, count: int) -> Tensor:
    """Half waves, whole ones, ... over the levels, [levels, count]: levels that lie close are nearly alike."""
    place = (torch.arange(levels) + 0.5) / levels
    return torch.cos(math.pi * place[:, None] * torch.arange(1, count + 1))


class WaveNet(Autoregressive):
    """Gated causal convolutions with the conditionals of a sequence, p(x | c) = prod_t p(x_t | x_t-R..x_t-1, c).

    Shapes: x is [N, T], codes 0..levels-1 (of a waveform: `zoo.companding`); `step_log_prob` and `continue_from`
    take rows of any length. context is [N, *context_shape] and is added in every gate. `log_prob` is in nats a row
    and costs one pass; `sample` keeps in each layer the inputs it will read again, and costs a pass together, too.

    Parameters:
        levels: how many values a sample takes; mu-law of 8 bits has 256.
        channels: the width of the layers.
        skip: the width of what they hand on to the two layers at the top.
        blocks, layers: so many times so many layers; within a block the dilation doubles from 1.
        kernel: how many steps a layer reads.

    Reproducible: spoken_digits (900 clips of 4,096 samples, 100 held out), the label one-hot as context, else defaults,
    seed 0, `fit` for 1,000 steps of 2 clips (lr 3e-3, cosine, clip 1): 3.03 bits a sample held out, in 3.5 minutes of
    one CPU core; a Markov chain of order 2 has 3.72 (before the silence that fills clips up: 3.99 and 4.90). Words
    need far longer: drawn freely, this model mumbles and falls silent. A sample takes some 20 kB in training, so
    batches must be small.

    References:
        WaveNet: A Generative Model for Raw Audio (van den Oord et al., 2016), https://arxiv.org/abs/1609.03499
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        levels: int = 256,
        channels: int = 32,
        skip: int = 64,
        blocks: int = 2,
        layers: int = 8,
        kernel: int = 2,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, levels=levels)
        if len(self.event_shape) != 1:
            raise ValueError(f"a row of WaveNet is T samples, [T], not {list(self.event_shape)}")
        for name, value, least in (
            ("channels", channels, 1),
            ("skip", skip, 1),
            ("blocks", blocks, 1),
            ("layers", layers, 1),
            ("kernel", kernel, 2),
        ):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        contexts = 0 if self.context_shape is None else self.context_shape.numel()
        dilations = [2**layer for layer in range(layers)] * blocks
        # the code `levels` stands for what comes before a row
        self.reading = nn.Embedding(levels + 1, channels)
        self.network = DilatedNetwork(
            channels=channels, skip=skip, dilations=dilations, kernel=kernel, context=contexts
        )
        last = nn.Linear(skip, levels)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(skip, skip), nn.ReLU(), last)
        with torch.no_grad():
            # Levels that lie close are read and foretold alike to begin with; sound is learned many times faster so.
            self.reading.weight[:levels] = waves(levels, channels)
            long_ones_first = torch.randn(levels, skip) / torch.arange(1, levels + 1)[:, None]
            last.weight.copy_(waves(levels, levels) @ long_ones_first / math.sqrt(skip))

    @property
    def receptive_field(self) -> int:
        """How many samples before it a sample is drawn from."""
        return self.network.reach

    def step_log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """log p(x_t | what comes before it, c) of rows of any length, [N, T], in nats."""
        codes, context = self._codes("x", x), self.context_rows(len(x), context)
        if not codes.numel():
            return codes.new_zeros(codes.mT.shape, dtype=self.dtype)
        out = self.head(self.network(self._read(self._begun(codes[:-1])), self._given(context)))
        return -F.cross_entropy(out.flatten(0, 1), codes.flatten(), reduction="none").view(codes.shape).mT

    @torch.no_grad()
    def unroll(
        self, choose: Choose, rows: int, *, context: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        if known is None:
            known = torch.empty(rows, 0, dtype=torch.long, device=self.device)
        steps = self.features - known.shape[1]
        return torch.cat([known, self._go_on(choose, known.mT, steps, self._given(context))], 1)

    @torch.no_grad()
    def continue_from(
        self,
        x: Tensor,
        steps: int,
        *,
        context: Tensor | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> Tensor:
        """Draws of the samples that follow rows of any length, [N, steps]; see `zoo.choosing.drawing`."""
        if steps < 0:
            raise ValueError(f"steps must be at least 0, not {steps}")
        choose = drawing(temperature, top_k, top_p)
        context = self.context_rows(len(x), context)
        return self.as_rows(self._go_on(choose, self._codes("x", x), steps, self._given(context)))

    def _go_on(self, choose: Choose, known: Tensor, steps: int, context: Tensor | None) -> Tensor:
        """So many codes after the known ones, [T, rows]: [rows, steps]."""
        begun = self._begun(known)
        before, last = begun[:-1], begun[-1]
        step = self.network.stepper(self._read(before[-(self.receptive_field - 1) :]), context)
        codes = torch.empty(steps, known.shape[1], dtype=torch.long, device=self.device)
        for i in range(steps):
            codes[i] = choose(len(known) + i, self.head(step(self._read(last))))
            last = codes[i]
        return codes.mT

    def _codes(self, what: str, x: Tensor) -> Tensor:
        """Rows of any length, checked, with time first, [T, N]."""
        if x.dim() != 2:
            raise ValueError(f"WaveNet takes rows of samples, [N, T], but {what} is {list(x.shape)}")
        check_codes(f"{what} of WaveNet", x, self.levels)
        return x.mT.long()

    def _begun(self, codes: Tensor) -> Tensor:
        """Codes after the one for what comes before a row."""
        return F.pad(codes, (0, 0, 1, 0), value=self.levels)

    def _read(self, codes: Tensor) -> Tensor:
        return self.reading(codes)

    def _given(self, context: Tensor | None) -> Tensor | None:
        return None if context is None or self.context_shape is None else flat(context, self.context_shape)
