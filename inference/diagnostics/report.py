"""What a diagnosis finds, as it is found: sentences, alarms, a table of numbers, groups for ArviZ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from inference.diagnostics import findings, health
from inference.diagnostics.arviz_io import Labelled
from inference.diagnostics.latent import ACTIVE, divergences, is_discrete, scale_of, unit_variance
from inference.diagnostics.pareto import RELIABLE, pareto_k
from inference.diagnostics.predictive import compared, to_numpy
from inference.importance import in_blocks
from inference.likelihood import LogLikelihood
from inference.protocols import measure_of
from inference.quality.modes import find_modes, mode_coverage, unit_of
from inference.running import LogMean, Mean
from inference.sites import first_broken

KEPT = 2**24
"""How many numbers of the latent draws are kept in the container, at most."""


class Report:
    """What is found, as it is found."""

    def __init__(self) -> None:
        self.verdict: list[str] = []
        self.table: list[tuple[str, float, float]] = []
        self.groups: dict[str, dict[str, Labelled]] = {"constant_data": {}}
        self.attrs: dict[str, Any] = {}
        self.alarms: dict[str, str] = {}
        self.sound = True

    def alarm(self, illness: str, sentence: str | None) -> bool:
        """Note an alarm, if there is one."""
        if sentence is not None:
            self.verdict.append(sentence)
            self.alarms[illness] = sentence
        return sentence is not None

    def sites(self, model: Any, x: Tensor, context: Tensor | None) -> None:
        """The first site whose log-probability is not finite; nothing more can be asked of one that is NaN."""
        site = first_broken(model, x, context)
        self.alarm("not finite", None if site is None else health.broken(site, model))
        self.sound = site is None or not math.isnan(site.value)

    def likelihood(self, likelihood: LogLikelihood) -> None:
        self.verdict.append(findings.on_likelihood(likelihood))
        self.table.append(("log-likelihood, nats a row", likelihood.mean, likelihood.mean_error))
        self.groups["log_likelihood"] = {"x": (("chain", "draw", "row"), to_numpy(likelihood.values)[None, None])}
        self.attrs |= {
            "measure": likelihood.measure,
            "likelihood_kind": likelihood.kind,
            "likelihood_method": likelihood.method,
        }

    def guide(self, model: Any, x: Tensor, context: Tensor | None, draws: int, names: Sequence[str] | None) -> None:
        """Draws of the guide and their weights: bounds, Pareto k, KL, active units; the decoder's scale."""
        latents, log_w = _drawn(model, x, context, draws)
        bound, elbo = LogMean(), Mean()
        bound.add(log_w)
        elbo.add(log_w)
        (values, error), elbo_rows = bound.result(), elbo.result()[0]
        method = f"importance weighted with {draws} draws"
        self.likelihood(LogLikelihood(values, error, "lower bound", measure_of(model, x, context), method))
        k, gap = pareto_k(to_numpy(log_w)), (values - elbo_rows).mean().item()
        self.alarm("unreliable bound", health.unreliable(k))
        self.verdict += findings.on_guide(k, gap)
        self.table.append(("ELBO, nats a row", elbo_rows.mean().item(), float(elbo_rows.std() / len(x) ** 0.5)))
        share = float((k < RELIABLE).mean())
        self.table.append((f"rows with Pareto k below {RELIABLE}", share, (share * (1 - share) / len(k)) ** 0.5))
        self.groups["sample_stats"] = {"log_weight": (("chain", "draw", "row"), to_numpy(log_w)[None])}
        self.groups["constant_data"]["pareto_k"] = (("row",), k)
        self.groups["posterior"] = {}
        kls, of_x = divergences(model, x, context)
        for name, z in latents.items():
            self.latent(name, z, kls.get(name))
        self.decoder(of_x, x, names)

    def latent(self, name: str, z: np.ndarray, gaps: Tensor | None) -> None:
        units = z.reshape(*z.shape[:2], -1)
        axes = ("chain", "draw", "row", *_axes(name, z.ndim - 2, "unit"))
        self.groups["posterior"][name] = (axes, z[: max(1, KEPT // max(1, z[0].size))][None])
        kl, error = (math.inf, 0.0) if gaps is None else (gaps.mean().item(), float(gaps.std() / len(gaps) ** 0.5))
        if gaps is not None:
            self.table.append((f"KL of {name}, nats a row", kl, error))
        real = np.issubdtype(z.dtype, np.floating)
        variance = unit_variance(units) if real else np.empty(0)
        ill = self.alarm("posterior collapse", health.collapsed(name, variance, kl, error))
        if not real:
            return
        if not ill:
            self.verdict.append(findings.on_units(name, variance))
        self.table.append((f"active units of {name}, of {len(variance)}", float((variance > ACTIVE).sum()), 0.0))
        self.groups["constant_data"][f"unit_variance_{name}"] = ((f"{name}_flat",), variance)

    def decoder(self, of_x: Any, x: Tensor, names: Sequence[str] | None) -> None:
        """Whether p(x | z), where it is a density with a scale, is as good as a point."""
        scale = scale_of(of_x, x.shape) if x.is_floating_point() and not is_discrete(of_x) else None
        if scale is not None:
            data = to_numpy(x).reshape(len(x), -1).astype(float)
            told = names or [f"column {i}" for i in range(data.shape[1])]
            self.alarm("decoder variance collapse", health.scale_collapsed(scale, data, told))
            self.table.append(("smallest scale of the decoder", float(scale.min()), 0.0))

    def samples(self, x: Tensor, drawn: Tensor, names: Sequence[str] | None) -> None:
        data, replicated = to_numpy(x), to_numpy(drawn)
        z_scores, spread, named = compared(data, replicated.reshape(-1, *data.shape[1:]), names)
        self.verdict += findings.on_samples(z_scores, spread, named)
        near = float((np.abs(z_scores) <= 3).mean())
        self.table.append(("columns whose mean agrees", near, 0.0))
        self.table.append(("variance of samples over the data's", spread, 0.0))
        axes = ("row", *_axes("x", data.ndim - 1, "column"))
        self.groups["posterior_predictive"] = {"x": (("chain", "draw", *axes), replicated[None])}
        self.groups["observed_data"] = {"x": (axes, data)}

    def modes(self, x: Tensor, drawn: Tensor) -> None:
        """Which of the modes found in the data samples reach, and which are missing."""
        if len(torch.unique(x.flatten(1), dim=0)) < 2:
            return
        modes = find_modes(x.flatten(1), unit=unit_of(x))
        near, coverage = (mode_coverage(drawn.flatten(1), each) for each in (modes, modes.cells()))
        if not self.alarm("mode collapse", health.modes_collapsed(coverage)):
            self.verdict.append(findings.on_modes(near))
        self.table.append((f"modes reached, of {len(coverage.shares)}", float(sum(coverage.reached)), 0.0))
        self.table.append(("share of samples within a mode's reach", near.good.value, near.good.error))
        self.groups["constant_data"] |= {
            "mode_centre": (("mode", "mode_feature"), to_numpy(modes.centres)),
            "mode_unit": (("mode_feature",), to_numpy(modes.unit)),
            "mode_share": (("mode",), to_numpy(modes.shares)),
        }

    def training(
        self, history: pd.DataFrame | None, kept: int | None = None, warned: Mapping[str, str] | None = None
    ) -> None:
        self.verdict += findings.on_history(history, kept)
        for illness, sentence in health.of_kl(history).items():
            self.alarm(illness, sentence)
        for illness, sentence in (warned or {}).items():
            if illness not in self.alarms:
                self.alarm(illness, f"The fit warned. {sentence}")
        if history is None:
            return
        for name in history:
            self.groups["constant_data"][f"history_{name}"] = (("report",), history[name].to_numpy(dtype=float))


def _drawn(model: Any, x: Tensor, context: Tensor | None, draws: int) -> tuple[dict[str, np.ndarray], Tensor]:
    """All draws of each latent variable [K, N, ...], on the CPU, and the log weights [K, N]."""
    by_rows: list[tuple[dict[str, np.ndarray], Tensor]] = []
    for _, weighted in in_blocks(model, x, context, draws):
        blocks = list(weighted)
        latents = {
            name: np.concatenate([to_numpy(block.latents[name]) for block in blocks]) for name in blocks[0].latents
        }
        by_rows.append((latents, torch.cat([block.log_weights for block in blocks])))
    names = by_rows[0][0]
    joined = {name: np.concatenate([latents[name] for latents, _ in by_rows], 1) for name in names}
    return joined, torch.cat([log_w for _, log_w in by_rows], 1)


def _axes(name: str, count: int, what: str) -> list[str]:
    return [f"{name}_{what}"] if count == 1 else [f"{name}_{what}_{i}" for i in range(count)]
