"""A diffusion of normal data whose network is known exactly: what every sampler and bound can be held to."""

import torch
from torch import Tensor, nn

from zoo.diffusion import Diffusion
from zoo.noise_schedules import NoiseSchedule, as_schedule
from zoo.noising import NoiseLevels
from zoo.parameterisations import Parameterisation, as_parameterisation

LOC, SCALE = 0.3, 0.6


class ExactNetwork(nn.Module):
    """What E[x | z_t] amounts to, where x ~ N(LOC, scale^2); with a context it is the context that is the mean."""

    def __init__(self, schedule: NoiseSchedule, predicts: Parameterisation, scale: float) -> None:
        super().__init__()
        self.schedule, self.predicts, self.scale = schedule, predicts, scale
        self.anchor = nn.Parameter(torch.zeros(()))
        self.calls = 0

    def forward(self, z: Tensor, time: Tensor, context: Tensor | None = None, given: Tensor | None = None) -> Tensor:
        self.calls += 1
        log_snr = self.schedule(time.double()).to(z.dtype).view(-1, *[1] * (z.dim() - 1))
        alpha, sigma = log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()
        mean = torch.full_like(z, LOC)
        if context is not None:
            mean = context if given is None else torch.where(given.unsqueeze(-1), context, mean)
        x = (mean * sigma**2 + alpha * self.scale**2 * z) / (alpha**2 * self.scale**2 + sigma**2)
        at = NoiseLevels(*[alpha] * 10)._replace(alpha=alpha, sigma=sigma)
        return self.predicts.target(x, (z - alpha * x) / sigma, at).unsqueeze(1)


def exact_diffusion(steps: int, schedule="cosine", predicts="v", shape=(2,), scale=SCALE, **kwargs) -> Diffusion:
    schedule, predicts = as_schedule(schedule), as_parameterisation(predicts)
    network = ExactNetwork(schedule, predicts, scale)
    model = Diffusion(shape, steps=steps, schedule=schedule, predicts=predicts, network=network, **kwargs)
    return model.double().eval()
