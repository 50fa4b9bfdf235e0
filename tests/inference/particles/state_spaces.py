"""Small state-space models whose likelihoods are known: by Kalman, by enumeration, by the forward algorithm."""

import itertools
import math

import torch
from torch.distributions import Categorical, Normal, Poisson


class Noisy:
    """dx = -pull x dt + dB from x ~ N(2, 1), seen with noise: Ornstein and Uhlenbeck's process."""

    def draw_start(self, parameters, n):
        return 2 + torch.randn(len(parameters["pull"]), n, dtype=torch.float64)

    def advance(self, parameters, state, t, t_next):
        shrink, variance = self.step(parameters["pull"][:, None], t_next - t)
        return shrink * state + variance.sqrt() * torch.randn_like(state)

    @staticmethod
    def step(pull, elapsed):
        shrink = torch.exp(-pull * elapsed)
        return shrink, (1 - shrink.square()) / (2 * pull)

    def log_observation(self, parameters, state, y_t):
        return Normal(state, parameters["noise"][:, None]).log_prob(y_t)

    def draw_observation(self, parameters, state):
        return state + parameters["noise"][:, None] * torch.randn_like(state)

    def kalman(self, pull, noise, data, times, begin=None):
        """log p(data) of parameters [...], means and variances of the states [T, ...], filtered and before."""
        mean, variance, now = torch.full_like(pull, 2), torch.ones_like(pull), times[0] if begin is None else begin
        total, found = torch.zeros_like(pull), []
        for t, y in zip(times, data.tolist(), strict=True):
            shrink, added = self.step(pull, t - now)
            mean, variance, now = shrink * mean, shrink.square() * variance + added, t
            before = mean, variance
            if not math.isnan(y):
                total = total + Normal(mean, (variance + noise.square()).sqrt()).log_prob(torch.tensor(y))
                gain = variance / (variance + noise.square())
                mean, variance = mean + gain * (y - mean), variance * (1 - gain)
            found.append((mean, variance, *before))
        return total, [torch.stack(each) for each in zip(*found, strict=True)]

    def smoother(self, pull, noise, data, times, begin=None):
        """Rauch, Tung and Striebel's means and variances given all data, [T, ...]."""
        mean, variance, mean_before, variance_before = self.kalman(pull, noise, data, times, begin)[1]
        found = [(mean[-1], variance[-1])]
        for i in range(len(times) - 2, -1, -1):
            shrink, _ = self.step(pull, times[i + 1] - times[i])
            gain = variance[i] * shrink / variance_before[i + 1]
            after, spread = found[-1]
            found.append(
                (
                    mean[i] + gain * (after - mean_before[i + 1]),
                    variance[i] + gain.square() * (spread - variance_before[i + 1]),
                )
            )
        return [torch.stack(each) for each in zip(*found[::-1], strict=True)]


class Chain:
    """A hidden Markov chain: states are codes [B, n], parameters "moves" [B, K, K] and "shows" [B, K, L]."""

    def draw_start(self, parameters, n):
        k = parameters["moves"].shape[-1]
        return torch.randint(k, (len(parameters["moves"]), n))

    def advance(self, parameters, state, t, t_next):
        rows = torch.arange(len(state))[:, None]
        return Categorical(parameters["moves"][rows, state]).sample()

    def log_observation(self, parameters, state, y_t):
        rows = torch.arange(len(state))[:, None]
        return parameters["shows"][rows, state, int(y_t)].log()

    @staticmethod
    def enumerated(moves, shows, data):
        """p(data), and P(state_t = k | all data) [T, K], by all courses."""
        k, length = len(moves), len(data)
        courses = torch.tensor(list(itertools.product(range(k), repeat=length)))
        weight = torch.full((len(courses),), 1 / k, dtype=torch.float64)
        for t, y in enumerate(data):
            if t:
                weight = weight * moves[courses[:, t - 1], courses[:, t]]
            if y == y:
                weight = weight * shows[courses[:, t], int(y)]
        total = weight.sum()
        return total, torch.stack([((courses == i) * weight[:, None]).sum(0) for i in range(k)], 1) / total


class Outbreak:
    """A chain of binomials: heads [B, n, 3] of S, I and who fell ill since the last look, of whom some are reported."""

    def __init__(self, heads=8, ill=1, reported=0.7):
        self.heads, self.ill, self.reported = heads, ill, reported
        counts = range(heads + 1)
        masses = [[_mass(seen, new, reported) for new in counts] for seen in counts]
        self.table = torch.tensor(masses, dtype=torch.float64).log()

    def draw_start(self, parameters, n):
        start = torch.tensor([self.heads - self.ill, self.ill, 0], dtype=torch.float64)
        return start.expand(len(parameters["beta"]), n, 3).clone()

    def chances(self, beta, gamma, ill, elapsed):
        return 1 - torch.exp(-beta * ill / self.heads * elapsed), 1 - torch.exp(-gamma * elapsed)

    def advance(self, parameters, state, t, t_next):
        beta, gamma = parameters["beta"][:, None], parameters["gamma"][:, None]
        well, ill = state[..., 0], state[..., 1]
        falls, recovers = self.chances(beta, gamma, ill, t_next - t)
        new = torch.binomial(well, falls)
        return torch.stack([well - new, ill + new - torch.binomial(ill, recovers.expand_as(ill)), new], -1)

    def log_observation(self, parameters, state, y_t):
        return self.table[int(y_t), state[..., 2].long()]

    def draw_observation(self, parameters, state):
        return torch.binomial(state[..., 2], torch.full_like(state[..., 2], self.reported))

    def forward(self, beta, gamma, data, times, begin):
        """log p(data) [...] of rates [...], by the forward algorithm over (S, I)."""
        heads, now = self.heads, begin
        mass = beta.new_zeros(heads + 1, heads + 1, *beta.shape)
        mass[heads - self.ill, self.ill] = 1
        for t, y in zip(times, data.tolist(), strict=True):
            after = torch.zeros_like(mass)
            for well, ill in itertools.product(range(heads + 1), repeat=2):
                if well + ill > heads:
                    continue
                falls, recovers = self.chances(beta, gamma, torch.tensor(float(ill)), t - now)
                for new, well_again in itertools.product(range(well + 1), range(ill + 1)):
                    seen = 1.0 if math.isnan(y) else _mass(y, new, self.reported)
                    moved = _mass(new, well, falls) * _mass(well_again, ill, recovers)
                    after[well - new, ill + new - well_again] += mass[well, ill] * moved * seen
            mass, now = after, t
        return mass.sum((0, 1)).log()


class Rumoured(Outbreak):
    """An outbreak whose reports are Poisson, a few of them of no one: none is impossible."""

    def __init__(self):
        super().__init__()
        counts = torch.arange(self.heads + 1, dtype=torch.float64)
        self.mean = 0.2 + self.reported * counts
        self.table = Poisson(self.mean).log_prob(torch.arange(60, dtype=torch.float64)[:, None])

    def draw_observation(self, parameters, state):
        return torch.poisson(self.mean[state[..., 2].long()])


def _mass(count, of, chance):
    return 0.0 if count > of else math.comb(int(of), int(count)) * chance**count * (1 - chance) ** (of - count)
