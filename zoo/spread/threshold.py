"""Whether it spreads, how fast at first, and how far: R0, the growth rate, the final size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from zoo.spread.checks import numbers
from zoo.spread.compartments import Compartments, Rate
from zoo.spread.course import Course

_ROUNDS = 100
"""Newton's steps to the final size; each halves the error where R0 is 1, and doubles its digits elsewhere."""


def infected(model: Compartments) -> tuple[str, ...]:
    """The compartments that infect others, or will without meeting anyone.

    Raises:
        ValueError: there is none.
    """
    if not (found := _contagious(model)):
        raise ValueError("there is no threshold here: nobody infects anybody, or it begins without a meeting")
    return tuple(name for name in model.names if name in found)


def has_threshold(model: Compartments) -> bool:
    """Whether it spreads by meetings alone, so that there is an R0."""
    return bool(_contagious(model))


def infections(model: Compartments) -> Tensor:
    """[E], whether an event is a new infection: heads that were not infected are, by a contact."""
    change = model.change[:, _places(model, infected(model))]
    return model.contagious & (change > 0).any(-1) & ~(change < 0).any(-1)


def _contagious(model: Compartments) -> set[str]:
    contacts = [move for move in model.transitions if move.by]
    anyone = _before(model, {name for move in contacts for name in move.by})
    return _before(model, {name for move in contacts if move.source not in anyone for name in move.by})


def _before(model: Compartments, names: set[str]) -> set[str]:
    """These compartments, and all from which a head comes to them without meeting anyone."""
    while more := {m.source for m in model.transitions if m.source and not m.by and m.target in names} - names:
        names = names | more
    return names


def reproduction_number(model: Compartments, rates: Mapping[str, Rate], at: Tensor, time: float = 0.0) -> Tensor:
    """How many heads one infects among the heads `at`: R0 where nobody is infected, the effective number later on.

    The spectral radius of F V^-1: new infections by each infected compartment (and group), by how long heads stay
    there. Infinite where nobody leaves, as in `si`, or only by being met, as in a rumour. Differentiable; shape [...],
    of rates [...] and heads [..., K].

    References:
        Reproduction numbers and sub-threshold endemic equilibria for compartmental models of disease transmission (van
        den Driessche and Watmough, 2002), https://doi.org/10.1016/S0025-5564(02)00108-6
    """
    ill = _places(model, infected(model))
    given = model.rates(rates, time)
    model, at = model.to(given.device), model.checked(at).to(given.device)
    paces = model.paces(given)
    takers, sizes = at @ model.taken.T, model.sizes(at)
    met = model.met / torch.where(sizes > 0, sizes, 1.0)[..., None, model.group_of_heads]
    pressure = (met @ at[..., None])[..., 0] + model.alone
    new = infections(model)
    appear = torch.where(new[:, None], (paces * takers)[..., None] * met, 0.0)
    leave = (paces * pressure)[..., None] * model.taken
    born = (model.change.T @ appear)[..., ill, :][..., ill]
    gone = -(model.change.T @ leave)[..., ill, :][..., ill]
    return _radius(born, gone, (model.change[new][:, ill] > 0).any(0))


def _radius(born: Tensor, gone: Tensor, entered: Tensor) -> Tensor:
    """The spectral radius of `born gone^-1`, whose rows are zero but where heads enter."""
    if len(entered) == 1:
        endless = gone[..., 0, 0] == 0
        return torch.where(endless, torch.inf, born[..., 0, 0] / torch.where(endless, 1.0, gone[..., 0, 0]))
    endless = torch.linalg.det(gone) == 0
    gone = torch.where(endless[..., None, None], torch.eye(len(entered)).to(gone), gone)
    ways = torch.linalg.solve_ex(gone, born, left=False).result[..., entered, :][..., entered]
    radius = ways[..., 0, 0] if ways.shape[-1] == 1 else torch.linalg.eigvals(ways).abs().amax(-1)
    return torch.where(endless, torch.inf, radius)


def effective_reproduction(course: Course, rates: Mapping[str, Rate]) -> Tensor:
    """R(t) at each time of a course that had these rates, [..., T]: how many heads one infects, were all as then."""
    now = {name: _at_each(rate, course.times) for name, rate in rates.items()}
    return reproduction_number(course.compartments, now, course.heads)


def _at_each(rate: Rate, times: Tensor) -> Tensor:
    """[..., 1 or T]."""
    if callable(rate):
        return torch.stack([torch.as_tensor(rate(time), dtype=torch.float64) for time in times.tolist()], -1)
    return torch.as_tensor(rate, dtype=torch.float64)[..., None]


def growth_rate(model: Compartments, rates: Mapping[str, Rate], at: Tensor, time: float = 0.0) -> Tensor:
    """The rate at which few infected heads grow among the heads `at`, a unit of time; below 0 they die out.

    The largest real part of an eigenvalue of the rate equations' Jacobian in the infected compartments. Shape [...], of
    rates [...] and heads [..., K].
    """
    ill = _places(model, infected(model))
    given = model.rates(rates, time)
    model, at = model.to(given.device), model.checked(at).to(given.device)
    paces = model.paces(given)
    batch = torch.broadcast_shapes(paces.shape[:-1], at.shape[:-1])
    rows = at.expand(*batch, -1).reshape(-1, model.size)
    flat = paces.expand(*batch, -1).reshape(len(rows), -1)
    slopes = torch.func.vmap(torch.func.jacrev(lambda heads, pace: model.flow(heads, pace) @ model.change))(rows, flat)
    block = slopes[:, ill][:, :, ill]
    leading = block[:, 0, 0] if len(ill) == 1 else torch.linalg.eigvals(block).real.amax(-1)
    return leading.reshape(batch)


def _places(model: Compartments, names: Sequence[str]) -> list[int]:
    return [model.index(name, group) for group in range(len(model.groups or "1")) for name in names]


def final_size(
    r0: Tensor | float,
    *,
    contacts: Tensor | Sequence[Sequence[float]] | None = None,
    susceptible: Tensor | float | Sequence[float] = 1.0,
    infected: Tensor | float | Sequence[float] = 0.0,
) -> Tensor:
    """The share z of all heads that is infected in the end, where who is infected once is so no more.

    The largest z = s (1 - exp(-R0 (z + i))), with the shares s that are susceptible and i infected at the start; with
    groups the largest z_g = s_g (1 - exp(-R0 sum_h contacts_gh (z_h + i_h))), of each group's own heads. Whether there
    is a latent time does not matter. Differentiable, by the implicit function theorem.

    Parameters:
        r0: beta / gamma, [...].
        contacts: [G, G] of `Compartments`, or None for one group.
        susceptible, infected: shares, [...] or [..., G] with groups.

    Returns:
        z, [...] or [..., G]; 0 where R0 s is not above 1 and nobody is infected.

    Raises:
        ValueError: an R0 or a share that is negative or not finite, or shares that make more than 1.

    References:
        Generality of the final size formula for an epidemic of a newly invading infectious disease (Ma and Earn, 2006),
        https://doi.org/10.1007/s11538-005-9047-7
    """
    r0, s = numbers("R0", r0), numbers("the susceptible share", susceptible)
    i = numbers("the infected share", infected)
    if (s + i > 1 + 1e-9).any():
        raise ValueError("the susceptible and the infected share make more than 1")
    if contacts is None:
        return _largest(r0[..., None, None], s[..., None], i[..., None])[..., 0]
    return _largest(r0[..., None, None] * numbers("contacts", contacts), s, i)


def _largest(force: Tensor, s: Tensor, i: Tensor) -> Tensor:
    """From above, where every step of Newton's stays above the largest solution."""
    shape = torch.broadcast_shapes(force.shape[:-1], s.shape, i.shape)

    def step(z: Tensor) -> Tensor:
        left = s * torch.exp(-(force @ (z + i)[..., None])[..., 0])
        slope = torch.eye(shape[-1]).to(force) - left[..., None].detach() * force.detach()
        even = (torch.linalg.det(slope) <= 0)[..., None, None]  # R0 s is 1: the slope is none
        slope = torch.where(even, torch.eye(shape[-1]).to(force), slope)
        return z - torch.linalg.solve(slope, (z - s + left)[..., None])[..., 0]

    with torch.no_grad():
        z = s.expand(shape)
        for _ in range(_ROUNDS):
            before, z = z, step(z).clamp(min=0)
            if torch.equal(before, z):
                break
    return step(z)  # once more with its slopes: those of the solution
