"""A Transformer beside the loops that its tutorial implementations write: a training step, and drawing a text.

The peer is nanoGPT's network and loop by hand, with the same start symbol, the same fused AdamW and the same
weights to begin with. Training is nanoGPT's on a CPU: 4 layers of width 128, 64 places, batches of 12 random
windows. Its `generate` reads the whole text anew for each token; the 200 tokens are drawn in a window of 256, which
they do not fill. Of a full window nothing can be kept by nanoGPT's rule: at a window of 64 the same tokens cost 0.78x
(batch 1) and 0.69x (batch 8), and by `keep=32`, another rule, 0.29x and 0.11x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from benchmarks.common import Row, alternate, ratio
from inference.fit import fit
from inference.settings import adamw
from zoo.datasets import Windows
from zoo.transformer import Transformer

LAYERS, HEADS, WIDTH, BLOCK, BATCH, TIMED = 4, 4, 128, 64, 12, 25
WINDOW, TOKENS = 256, 200
SAMPLING = {1: 0.20, 8: 0.07}


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c_attn = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.c_proj = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = (part.view(n, t, HEADS, c // HEADS).transpose(1, 2) for part in self.c_attn(x).split(WIDTH, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).contiguous().view(n, t, c))


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(WIDTH, bias=False), Attention()
        self.ln_2 = nn.LayerNorm(WIDTH, bias=False)
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Plain(nn.Module):
    """nanoGPT's network, the start a token more in its table; the logits are of the tokens alone."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.levels, self.block = model.levels, model.features
        self.wte, self.wpe = nn.Embedding(self.levels + 1, WIDTH), nn.Embedding(self.block, WIDTH)
        self.h = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.ln_f = nn.LayerNorm(WIDTH, bias=False)
        own = dict(model.named_parameters())
        table = torch.cat([own.pop("token.weight"), own.pop("start")[None]])
        # both go through their layers in the same order
        for mine, theirs in zip(self.parameters(), [table, *own.values()], strict=True):
            mine.data.copy_(theirs)

    def forward(self, read: Tensor) -> Tensor:
        x = self.wte(read) + self.wpe(torch.arange(read.shape[1]))
        for layer in self.h:
            x = layer(x)
        return self.ln_f(x)

    def loss(self, read: Tensor, said: Tensor) -> Tensor:
        logits = F.linear(self(read), self.wte.weight[: self.levels])
        return F.cross_entropy(logits.view(-1, self.levels), said.view(-1))

    @torch.no_grad()
    def generate(self, read: Tensor, tokens: int) -> Tensor:
        for _ in range(tokens):
            logits = F.linear(self(read[:, -self.block :])[:, -1], self.wte.weight[: self.levels])
            read = torch.cat([read, torch.multinomial(logits.softmax(-1), 1)], 1)
        return read


def network(length: int, levels: int, wide: float = 1.0) -> tuple[Transformer, Plain]:
    """Ours and the peer's, of the same weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = Transformer(length, levels=levels, layers=LAYERS, heads=HEADS, width=WIDTH).eval()
        with torch.no_grad():
            for parameter in ours.parameters():
                parameter *= wide
        return ours, Plain(ours).eval()


def plain_loop(model: Plain, codes: Tensor) -> Callable[[], None]:
    optimizer = adamw(list(model.parameters()), 1e-3)
    starts = torch.full((BATCH, 1), model.levels)

    def run() -> None:
        for _ in range(TIMED):
            begin = torch.randint(len(codes) - BLOCK + 1, (BATCH,))
            said = torch.stack([codes[i : i + BLOCK] for i in begin])
            loss = model.loss(torch.cat([starts, said[:, :-1]], 1), said)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return run


def step(rounds: int) -> Row:
    data = zoo.datasets.load("pydoc_topics")
    ours, plain = network(BLOCK, int(data.levels or 0))
    probe = data.test.x[: 4 * BLOCK].view(4, BLOCK)
    read = torch.cat([torch.full((4, 1), plain.levels), probe[:, :-1]], 1)
    with torch.no_grad():
        assert math.isclose(float(-ours.step_log_prob(probe).mean()), float(plain.loss(read, probe)), rel_tol=1e-5)
    windows = Windows(data.train.x, BLOCK)
    optimizer = partial(adamw, weight_decay=0.1, betas=(0.9, 0.99))
    times = alternate(
        {
            "ours": lambda: fit(
                ours, windows, steps=TIMED, batch_size=BATCH, lr=1e-3, optimizer=optimizer, progress=False
            ),
            "peer": plain_loop(plain.train(), data.train.x),
        },
        rounds,
    )
    return Row("transformer_step", ratio(times, "ours", "peer"), 1.05, "lower", "a plain loop")


def sampling(batch: int, rounds: int) -> Row:
    ours, plain = network(WINDOW, 103, wide=2.0)
    nothing, start = torch.empty(batch, 0, dtype=torch.long), torch.full((batch, 1), plain.levels)
    drawn = []
    with torch.random.fork_rng():
        for draw in (lambda: ours.continue_from(nothing, TOKENS), lambda: plain.generate(start, TOKENS)[:, 1:]):
            torch.manual_seed(0)
            drawn.append(draw())
        assert torch.equal(*drawn), "the tokens are not the naive loop's"
        times = alternate(
            {"ours": lambda: ours.continue_from(nothing, TOKENS), "peer": lambda: plain.generate(start, TOKENS)}, rounds
        )
    return Row(
        f"transformer_sampling_batch_{batch}", ratio(times, "ours", "peer"), SAMPLING[batch], "lower", "without a cache"
    )


def rows(rounds: int) -> list[Row]:
    return [step(rounds), *(sampling(batch, rounds) for batch in SAMPLING)]
