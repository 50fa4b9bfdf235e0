"""WaveNet beside the same network written by hand in torch: a training step, and drawing without queues.

A step of ours is one of `inference.fit`; the peer's is a plain loop with convolutions and the fused Adam. The naive
loop runs the network over all samples so far (as many as it sees) for each new one. `voice_quality` has the bits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import Row, alternate, ratio
from inference.fit import fit
from zoo.choosing import drawing
from zoo.wavenet import WaveNet

LENGTH, BATCH, TIMED, CLIPS = 1024, 8, 8, 4
DRAWN = 1000


class ByHand(nn.Module):
    """The network of `WaveNet`'s defaults as its paper draws it, with torch's convolutions."""

    def __init__(self, channels: int = 32, skip: int = 64) -> None:
        super().__init__()
        self.dilations = [2**layer for layer in range(8)] * 2
        self.reading = nn.Embedding(257, channels)
        self.gates = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 2, dilation=d) for d in self.dilations)
        self.residuals = nn.ModuleList(nn.Conv1d(channels, channels, 1, bias=False) for _ in self.dilations[1:])
        self.skips = nn.ModuleList(nn.Conv1d(channels, skip, 1, bias=False) for _ in self.dilations)
        self.head = nn.Sequential(nn.ReLU(), nn.Conv1d(skip, skip, 1), nn.ReLU(), nn.Conv1d(skip, 256, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits, [N, 256, T]."""
        h = self.reading(F.pad(x, (1, 0), value=256)[:, :-1]).mT
        total: Tensor | float = 0.0
        for i, (gate, skip) in enumerate(zip(self.gates, self.skips, strict=True)):
            a, b = gate(F.pad(h, (self.dilations[i], 0))).chunk(2, 1)
            z = a.tanh() * b.sigmoid()
            total = total + skip(z)
            if i < len(self.residuals):
                h = h + self.residuals[i](z)
        return self.head(total)


def hand_loop(x: Tensor) -> Callable[[], None]:
    model = ByHand()
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in WaveNet(LENGTH).parameters())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def run() -> None:
        for index in torch.randperm(len(x))[: BATCH * TIMED].split(BATCH):
            loss = F.cross_entropy(model(x[index]), x[index], reduction="none").sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


@torch.no_grad()
def naive(model: WaveNet, rows: int, steps: int) -> Tensor:
    """Draws without queues: a pass over what is known, cut to what the network sees, for each sample."""
    choose, codes = drawing(), torch.full((1, rows), model.levels)
    for i in range(steps):
        seen = model.reading(codes[-model.receptive_field :])
        codes = torch.cat([codes, choose(i, model.head(model.network(seen)[-1]))[None]])
    return codes[1:].mT


def drawn_by(draw: Callable[[], Tensor]) -> Tensor:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return draw()


def rows(rounds: int) -> list[Row]:
    x = torch.randint(0, 256, (BATCH * TIMED, LENGTH), generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, drawer = WaveNet(LENGTH), WaveNet(DRAWN)
        steps = alternate(
            {"ours": lambda: fit(model, x, steps=TIMED, batch_size=BATCH, progress=False), "hand": hand_loop(x)}, rounds
        )
    ways = {
        "cached": lambda: drawn_by(lambda: drawer.sample(CLIPS)),
        "naive": lambda: drawn_by(lambda: naive(drawer, CLIPS, DRAWN)),
    }
    same = (ways["cached"]() == ways["naive"]()).double().mean().item()
    draws = alternate(ways, max(1, rounds // 3))
    return [
        Row("wavenet_step", ratio(steps, "ours", "hand"), 1.05, "lower", "torch by hand, fused Adam"),
        Row("wavenet_sample", ratio(draws, "cached", "naive"), 0.05, "lower", f"without queues, {CLIPS} x {DRAWN}"),
        Row("wavenet_same_draws", same, 1.0, "higher", "without queues, the same seed"),
    ]
