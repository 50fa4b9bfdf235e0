"""A million rows on an accelerator, beside one core: rows a second."""

from __future__ import annotations

import time

import torch

from benchmarks.elimination_tasks.networks import load, tensors

NETWORKS = ("alarm", "hepar2")


def rows_a_second(name: str, device: str, dtype: torch.dtype, rows: int, rounds: int = 3) -> float:
    """All marginals, the evidence on the device and the answers left there; the best round."""
    network = load(name)
    engine = network.engine("torch", device=device, dtype=dtype)
    codes = tensors(network.evidence(rows, 0), device=device)
    best = float("inf")
    for _ in range(rounds + 1):
        _wait(device)
        start = time.perf_counter()
        engine.marginals(codes)
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return rows / best


def report(device: str, rows: int = 1_000_000) -> None:
    for name in NETWORKS:
        for dtype in (torch.float64, torch.float32):
            there = rows_a_second(name, device, dtype, rows)
            here = rows_a_second(name, "cpu", dtype, min(rows, 20_000))
            print(
                f"{name:8} {str(dtype)[6:]:8} {device} {there:13,.0f} rows/s, one core {here:11,.0f} rows/s, "
                f"{there / here:.0f} times"
            )


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
