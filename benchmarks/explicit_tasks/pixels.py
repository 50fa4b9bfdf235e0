"""MADE and PixelCNN on binarised digits: drawing with everything computed once beside the naive loop, a training step
beside a plain torch loop of the same network, and the nats an image that they reach.

The naive loops are whole passes of our own networks, one for each pixel. The plain loops are written here: the same
layers and the same fused Adam as `fit` has by default, without anything around them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.common import Row, alternate, ratio
from benchmarks.explicit_tasks.pixels_quality import images, made, nats, pixelcnn
from inference.fit import fit
from zoo.made import MADE
from zoo.masked import MaskedNetwork
from zoo.pixelcnn import PixelCNN

BATCH = 128
STEPS = {"made": 300, "pixelcnn": 5}


class PlainMADE(nn.Module):
    """MADE with one hidden layer and connections past it, its masks multiplied in."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        like = MaskedNetwork(size, inputs=1, outputs=1, hidden=[hidden])
        assert like.straight is not None
        self.first, self.last = nn.Linear(size, hidden), nn.Linear(hidden, size)
        self.straight = nn.Linear(size, size, bias=False)
        masks = [like.layers[0].mask, like.last.mask, like.straight.mask]
        for name, mask in zip(("in_mask", "out_mask", "straight_mask"), masks, strict=True):
            self.register_buffer(name, mask)

    def forward(self, x: Tensor) -> Tensor:
        h = F.linear(x, self.first.weight * self.in_mask, self.first.bias).relu()
        out = F.linear(h, self.last.weight * self.out_mask, self.last.bias)
        return out + F.linear(x, self.straight.weight * self.straight_mask)


class PlainLayer(nn.Module):
    def __init__(self, inputs: int, hidden: int, kernel: int) -> None:
        super().__init__()
        self.reach = kernel // 2
        self.vertical = nn.Conv2d(inputs, 2 * hidden, (self.reach + 1, kernel))
        self.link = nn.Conv2d(2 * hidden, 2 * hidden, 1, bias=False)
        self.horizontal = nn.Conv2d(inputs, 2 * hidden, (1, self.reach + 1))
        self.out = nn.Conv2d(hidden, hidden, 1, bias=False)

    def forward(self, above: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
        seen = self.vertical(F.pad(above, (self.reach, self.reach, self.reach, 0)))
        fresh = self.horizontal(F.pad(left, (self.reach, 0))) + self.link(seen)
        a, b = seen.chunk(2, 1)
        c, d = fresh.chunk(2, 1)
        return a.tanh() * b.sigmoid(), self.out(c.tanh() * d.sigmoid())


class PlainPixelCNN(nn.Module):
    """The gated PixelCNN over bits, written out."""

    def __init__(self, height: int, width: int, hidden: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(hidden, height, width))
        self.layers = nn.ModuleList(PlainLayer(hidden if i else 1, hidden, kernel) for i in range(layers))
        self.first, self.last = nn.Linear(hidden, hidden), nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = 2 * x - 1
        above, left, found = F.pad(x, (0, 0, 1, -1)), F.pad(x, (1, -1)), self.places
        for layer in self.layers:
            above, fresh = layer(above, left)
            left = found = found + fresh
        out = self.last(self.first(found.permute(0, 2, 3, 1).relu()).relu())
        return out.permute(0, 3, 1, 2)


def plain_loop(network: nn.Module, x: Tensor, steps: int) -> Callable[[], None]:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)

    def run() -> None:
        done = 0
        while done < steps:
            for index in torch.randperm(len(x)).split(BATCH):
                batch = x[index]
                loss = F.binary_cross_entropy_with_logits(network(batch), batch, reduction="sum") / len(batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                done += 1
                if done == steps:
                    break

    return run


def step(name: str, ours: MADE | PixelCNN, plain: nn.Module, x: Tensor, rounds: int) -> Row:
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in plain.parameters())
    rows = x[: len(x) // BATCH * BATCH]  # whole batches for both
    steps = STEPS[name]
    times = alternate(
        {
            "ours": lambda: fit(ours, rows, steps=steps, batch_size=BATCH, progress=False),
            "peer": plain_loop(plain, rows, steps),
        },
        2 * rounds,
    )
    return Row(f"{name}_step", ratio(times, "ours", "peer"), 1.05, "lower", "plain torch loop")


def made_naively(model: MADE, n: int) -> Tensor:
    x = torch.zeros(n, 64)
    for i in range(64):
        x[:, i] = (torch.rand(n) < model.network(x)[:, i, 0].sigmoid()).float()
    return x


def pixelcnn_naively(model: PixelCNN, n: int) -> Tensor:
    x = torch.zeros(n, *model.event_shape)
    for row in range(8):
        for column in range(8):
            read = 2 * x - 1
            values = model.head(model.trunk(read, None), read)[:, row, column, 0, 0]
            x[:, 0, row, column] = (torch.rand(n) < values.sigmoid()).float()
    return x


def sampling(rounds: int) -> list[Row]:
    """500 images of MADE and 100 of PixelCNN; the same draws from the same seed."""
    found = []
    for name, model, naively, n, goal, times_more in (
        ("made", MADE(64), made_naively, 500, 0.06, 3),
        ("pixelcnn", PixelCNN((1, 8, 8)).eval(), pixelcnn_naively, 100, 0.05, 1),
    ):
        with torch.no_grad():
            torch.manual_seed(0)
            ours = model.sample(n)
            torch.manual_seed(0)
            assert (ours != naively(model, n)).float().mean() < 1e-3  # but for a draw at a rounding's edge
            times = alternate(
                {"ours": lambda m=model, n=n: m.sample(n), "peer": lambda f=naively, m=model, n=n: f(m, n)},
                times_more * rounds,
            )
        found.append(Row(f"{name}_sample", ratio(times, "ours", "peer"), goal, "lower", "naive loop"))
    return found


def quality() -> list[Row]:
    _, _, test = images()
    return [
        Row("made_digits_nats", nats(made(), test), 17.2, "lower"),
        Row("pixelcnn_digits_nats", nats(pixelcnn(), test), 17.2, "lower", "MADE"),
    ]


def rows(rounds: int) -> list[Row]:
    torch.manual_seed(0)
    x, _, _ = images()
    network = PixelCNN((1, 8, 8))
    hidden, layers, kernel = network.places.shape[0], len(network.layers), 2 * network.gated[0].reach + 1
    return [
        *sampling(rounds),
        step("made", MADE(64), PlainMADE(64, 512), x.flatten(1), rounds),
        step("pixelcnn", network, PlainPixelCNN(8, 8, hidden, layers, kernel), x, rounds),
        *quality(),
    ]
