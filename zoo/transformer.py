"""A Transformer over tokens: each given all those before it, by causal self-attention."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.attention import Block, Kept
from zoo.autoregressive import Autoregressive, Choose, check_codes
from zoo.base import Shape
from zoo.choosing import drawing
from zoo.networks import flat


class Transformer(Autoregressive):
    """A GPT over rows of tokens, p(x | c) = p(x_1 | c) p(x_2 | x_1, c) ... p(x_T | x_1..x_(T-1), c).

    Shapes: x is [N, T], codes 0..levels-1; `step_log_prob` also takes shorter rows. Context is [N, *context_shape];
    projected to the width, it is added at every place. `log_prob` is in nats a row and costs one pass. `sample` and
    `unroll` keep keys and values, so that a token costs a pass at one place; they never drop anything out.

    A row begins with a symbol of its own, learned, which a window cut from a long text has as well: the first token
    is modelled too, and `log_prob` is the likelihood of the whole row. nanoGPT, whose figures are "nats per
    character", reads T characters and predicts those after each of them; the same figure here is that of rows of
    T + 1 without their first token, `-step_log_prob(rows)[:, 1:].mean()` of an `event_shape` of [T + 1].

    Parameters:
        levels: how many tokens there are (`zoo.tokens`).
        layers, heads, width: of the network; the heads share the width among them.
        dropout: the share of attention weights, and of what each layer adds, that is dropped in training.

    Layers are normalised first and have no biases, places are learned vectors, the table of tokens is also the last
    layer, and weights start as GPT-2's do, scaled to the width: at 128 its 0.02 would be too small to learn from soon.

    Reproducible: tinyshakespeare (last tenth held out), event_shape 65, defaults, seed 0, `fit` on 2,000 batches of 12
    random windows with AdamW at 1e-3, all nanoGPT's: 1.76 nats a character held out, where nanoGPT names 1.88
    (`benchmarks/explicit_tasks/text_quality.py`).

    References:
        Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762
        Language Models are Unsupervised Multitask Learners (Radford et al., 2019)
        nanoGPT (Karpathy, 2022), https://github.com/karpathy/nanoGPT
    """

    def __init__(
        self,
        event_shape: Shape,
        *,
        context_shape: Shape | None = None,
        levels: int,
        layers: int = 4,
        heads: int = 4,
        width: int = 128,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(event_shape, context_shape=context_shape, levels=levels)
        if len(self.event_shape) != 1:
            raise ValueError(f"a row of Transformer is T tokens, [T], not {list(self.event_shape)}")
        if min(layers, heads, width) < 1 or width % heads:
            raise ValueError(
                f"layers, heads and width must be at least 1, and heads divide the width, "
                f"not layers {layers}, heads {heads}, width {width}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, not {dropout}")
        self.token = nn.Embedding(levels, width)
        self.place = nn.Parameter(torch.empty(self.features, width))
        self.start = nn.Parameter(torch.empty(width))
        self.given = None if self.context_shape is None else nn.Linear(self.context_shape.numel(), width, bias=False)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self._begin()

    @torch.no_grad()
    def _begin(self) -> None:
        std = 0.02 * (768 / self.start.numel()) ** 0.5  # a sum over the width starts as wide as GPT-2's at its 768
        for name, parameter in self.named_parameters():
            if "norm" in name:
                continue
            # what each layer adds is made smaller, the more there are, so that their sum starts as wide as one
            adds = name.endswith(("gathered.weight", "down.weight"))
            parameter.normal_(0.0, std / (2 * len(self.blocks)) ** 0.5 if adds else std)

    def step_log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor:
        """log p(x_t | x_1..x_(t-1), c) of each token of rows of up to T, [N, length], in nats."""
        codes = self._codes(x, self.features)
        self.check(context=context)
        if context is not None and len(context) != len(codes):
            raise ValueError(f"x has {len(codes)} rows, but context has {len(context)}")
        if not codes.numel():
            return torch.zeros(codes.shape, dtype=self.dtype, device=self.device)
        h = self.drop(self._embedded(codes[:, :-1], context))
        for block in self.blocks:
            h = block(h)
        return -F.cross_entropy(self._logits(h).flatten(0, 1), codes.flatten(), reduction="none").view(codes.shape)

    @torch.no_grad()
    def unroll(
        self, choose: Choose, rows: int, *, context: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        told = 0 if known is None else known.shape[1]
        codes = torch.empty(rows, self.features, dtype=torch.long, device=self.device)
        if known is not None:
            codes[:, :told] = known
        self._fill(choose, codes, told, context)
        return codes

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
        keep: int | None = None,
    ) -> Tensor:
        """Draws of the tokens that follow rows of any length, none included, [N, steps].

        Up to T tokens in all they are `sample`'s. From there on the oldest tokens are forgotten, and with them every
        place is another: the window is read anew, a whole pass (the last layer at its last place alone).

        Parameters:
            temperature, top_k, top_p: see `zoo.choosing.drawing`.
            keep: how many tokens are kept when the window is full; the T - 1 of nanoGPT unless told, which costs a
                pass for each token. T // 2 costs one for T // 2 tokens, of which the first see a shorter past.
        """
        codes, choose, room = self._codes(x), drawing(temperature, top_k, top_p), self.features
        keep = room - 1 if keep is None else keep
        if not 0 <= keep < room:
            raise ValueError(f"keep must be 0 to {room - 1} tokens of a window of {room}, not {keep}")
        if steps < 0:
            raise ValueError(f"steps must be at least 0, not {steps}")
        context = self.context_rows(len(codes), context)
        known = codes.shape[1]
        text = torch.cat([codes, codes.new_empty(len(codes), steps)], 1)
        first, at = 0, known
        while at < text.shape[1]:
            if at - first >= room:
                first = at - keep
            self._fill(choose, text[:, first : first + room], at - first, context, first)
            at = min(first + room, text.shape[1])
        return self.as_rows(text[:, known:])

    # ---- the network

    def _embedded(self, codes: Tensor, context: Tensor | None) -> Tensor:
        """What the first layer reads: the start and the tokens after it, [N, 1 + length, width]."""
        start = self.start.expand(len(codes), 1, -1)
        h = torch.cat([start, self.token(codes)], 1) + self.place[: 1 + codes.shape[1]]
        return h if context is None else h + self._given(context)

    def _given(self, context: Tensor) -> Tensor:
        """What the context adds at every place, [N, 1, width]."""
        assert self.given is not None and self.context_shape is not None
        return self.given(flat(context, self.context_shape)).unsqueeze(1)

    def _logits(self, h: Tensor) -> Tensor:
        return F.linear(self.norm(h), self.token.weight)

    def _fill(self, choose: Choose, codes: Tensor, told: int, context: Tensor | None, first: int = 0) -> None:
        """Write into rows [N, length] what follows their first `told` tokens; number 0 is called `first`."""
        length = codes.shape[1]
        if told == length:
            return
        layers = [Kept(cast(Block, block), len(codes), length) for block in self.blocks]
        given = None if context is None else self._given(context)[:, 0]
        h = self._embedded(codes[:, :told], context)
        for layer in layers[:-1]:
            h = layer.begin(h)
        h = layers[-1].begin(h, last=1)[:, 0]
        token, places, scale = self.token.weight, self.place, self.norm.weight
        for i in range(told, length):
            logits = F.linear(F.layer_norm(h, scale.shape, scale), token)
            codes[:, i] = choose(first + i, logits)
            if i + 1 == length:
                return
            h = F.embedding(codes[:, i], token) + places[i + 1]
            h = h if given is None else h + given
            for layer in layers:
                h = layer.extend(h, i + 1)

    def _codes(self, x: Tensor, most: int | None = None) -> Tensor:
        """Rows of tokens, checked, as codes."""
        if x.dim() != 2 or (most is not None and x.shape[1] > most):
            up_to = "any length" if most is None else f"up to {most}"
            raise ValueError(f"Transformer takes rows of tokens, [N, {up_to}], but was given {list(x.shape)}")
        check_codes("x of Transformer", x, self.levels)
        return x.to(self.device, torch.long)
