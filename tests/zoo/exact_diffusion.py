"""A diffusion of normal data whose network is known exactly: what every sampler and bound can be held to."""

import torch
from torch import Tensor, nn

from zoo.diffusion import Diffusion
from zoo.noise_schedules import as_schedule
from zoo.noising import NoiseLevels
from zoo.parameterisations import as_parameterisation

LOC, SCALE = 0.3, 0.6


class ExactNetwork(nn.Module):
    """What E[x | z_t] amounts to, where x ~ N(LOC, SCALE^2); with a context it is the context that is the mean."""

    def __init__(self, schedule, predicts, outputs: int = 1) -> None:
        super().__init__()
        self.schedule, self.predicts, self.outputs = as_schedule(schedule), as_parameterisation(predicts), outputs
        self.anchor = nn.Parameter(torch.zeros(()))
        self.calls = 0

    def forward(self, z: Tensor, time: Tensor, context: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        self.calls += 1
        log_snr = self.schedule(time.double()).to(z.dtype).view(-1, *[1] * (z.dim() - 1))
        alpha, sigma = log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()
        mean = torch.full_like(z, LOC)
        if context is not None:
            mean = context if given is None else torch.where(given.unsqueeze(-1), context, mean)
        x = (mean * sigma**2 + alpha * SCALE**2 * z) / (alpha**2 * SCALE**2 + sigma**2)
        at = NoiseLevels(*[alpha] * 10)._replace(alpha=alpha, sigma=sigma)
        told = self.predicts.target(x, (z - alpha * x) / sigma, at)
        return torch.stack([told, *[torch.zeros_like(z)] * (self.outputs - 1)], 1)


def exact_diffusion(steps: int, schedule="cosine", predicts="v", shape=(2,), **kwargs) -> Diffusion:
    network = ExactNetwork(schedule, predicts)
    model = Diffusion(shape, steps=steps, schedule=schedule, predicts=predicts, network=network, **kwargs)
    return model.double().eval()
