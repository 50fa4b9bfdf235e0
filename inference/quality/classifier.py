"""Features of a small classifier: what tells the classes of a data set apart, rather than its pixels."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from inference.quality.features import Features

BATCH, RATE = 64, 1e-3


def classifier_features(
    x: Tensor, labels: Tensor, *, width: int = 32, epochs: int = 30, seed: int = 0, name: str = "classifier"
) -> Features:
    """The last hidden layer, [N, width], of a network taught the labels of rows, numbers or images [N, C, H, W].

    Two convolutions read images, two layers other rows; both read them scaled to 0..1 by the least and largest number
    of x. The name of the features ends in a hash of the rows, the labels and the settings, so that distances are
    compared on the same ones only; the same arguments give the same features on the same machine.

    Parameters:
        x, labels: what it is taught, training rows only; labels are codes 0..classes-1, [N].
    """
    if labels.shape != x.shape[:1] or labels.is_floating_point():
        raise ValueError(
            f"labels must be codes, one for each of {len(x)} rows, not {labels.dtype} {list(labels.shape)}"
        )
    low, high = float(x.min()), float(x.max())
    if not high > low:
        raise ValueError("x is constant: there is nothing to tell classes apart by")

    def scaled(rows: Tensor) -> Tensor:
        return (rows.to(torch.float32) - low) / (high - low)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        body = _body(x.shape[1:], width).to(x.device)
        _teach(body, nn.Linear(width, int(labels.max()) + 1).to(x.device), scaled(x), labels.long(), epochs)
    return Features(f"{name}-{_hash(x, labels, width, epochs, seed)}", lambda rows: body(scaled(rows)))


def _body(shape: torch.Size, width: int) -> nn.Module:
    if len(shape) == 3:
        reduced = ((shape[1] + 1) // 2) * ((shape[2] + 1) // 2)
        layers = [nn.Conv2d(shape[0], 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, padding=1), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * reduced, width), nn.ReLU())
    layers = [nn.Flatten(), nn.Linear(shape.numel(), 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, width), nn.ReLU())


def _teach(body: nn.Module, head: nn.Module, x: Tensor, labels: Tensor, epochs: int) -> None:
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=RATE, fused=True)
    with torch.enable_grad():
        for _ in range(epochs):
            for index in torch.randperm(len(x)).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(head(body(x[index])), labels[index]).backward()
                optimizer.step()
    body.requires_grad_(False)


def _hash(x: Tensor, labels: Tensor, *settings: int) -> str:
    found = hashlib.sha256(repr((x.dtype, tuple(x.shape), settings)).encode())
    for tensor in (x, labels):
        found.update(tensor.contiguous().cpu().numpy().tobytes())
    return found.hexdigest()[:8]
