"""Stand-in."""

import torch


def reproduction_number(model, rates, at):
    n = at.sum(-1)
    return torch.as_tensor(rates["beta"]) * at[..., 0] / n / torch.as_tensor(rates["gamma"])
