"""Features of a small classifier: what tells the classes of a data set apart, rather than its pixels."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from inference.quality.features import Features
from inference.seeding import seeded

BATCH, RATE = 64, 1e-3


def classifier_features(
    x: Tensor,
    labels: Tensor,
    *,
    width: int = 32,
    epochs: int = 30,
    seed: int = 0,
    name: str = "classifier",
    folder: Path | None = None,
) -> Features:
    """The last hidden layer, [N, width], of a network taught the labels of rows, numbers or images [N, C, H, W].

    Two convolutions read images, two layers other rows; both read them scaled to 0..1 by the least and largest number
    of x. The name of the features ends in a hash of the rows, the labels and the settings, so that distances are
    compared on the same ones only; the same arguments give the same features on the same machine.

    Parameters:
        x, labels: what it is taught, training rows only; labels are codes 0..classes-1, [N].
        folder: where it is kept, a file named by the hash; what is there is not taught again, what is damaged is.
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

    told = _hash(x, labels, width, epochs, seed)
    file = None if folder is None else folder / f"{name}-{told[:8]}.safetensors"
    with seeded(seed, x.device):
        body = _body(x.shape[1:], width).to(x.device)
        if file is None or not _kept(file, told, body):
            _teach(body, nn.Linear(width, int(labels.max()) + 1).to(x.device), scaled(x), labels.long(), epochs)
            if file is not None:
                _keep(file, told, body)
    body.requires_grad_(False)
    return Features(f"{name}-{told[:8]}", lambda rows: body(scaled(rows)))


def _kept(file: Path, told: str, body: nn.Module) -> bool:
    """Whether the file holds this network, whole; it is then read."""
    try:
        with safe_open(file, "pt") as found:
            if found.metadata() != {"hash": told}:
                return False
        body.load_state_dict(safetensors.torch.load_file(file))
    except (OSError, SafetensorError, RuntimeError):
        return False
    return True


def _keep(file: Path, told: str, body: nn.Module) -> None:
    """Written beside and renamed: who reads it meanwhile finds it whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=file.parent, suffix=".draft")
    os.close(handle)
    try:
        tensors = {key: value.detach().cpu().contiguous() for key, value in body.state_dict().items()}
        safetensors.torch.save_file(tensors, draft, {"hash": told})
        os.replace(draft, file)
    finally:
        Path(draft).unlink(missing_ok=True)


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


def _hash(x: Tensor, labels: Tensor, *settings: int) -> str:
    found = hashlib.sha256(repr((x.dtype, tuple(x.shape), settings)).encode())
    for tensor in (x, labels):
        found.update(tensor.contiguous().cpu().numpy().tobytes())
    return found.hexdigest()
