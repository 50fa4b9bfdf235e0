"""What a hidden state shows: log p(x_t | z_t) of every state at once, its missing parts summed out.

Steps are [M, D] (D numbers or codes) for the two closed forms, [M, *event_shape] for other densities. Each kind
gives `log_probs(steps)`, [M, K], and `sample(states)`; the closed forms also what Baum-Welch needs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from zoo.base import Explicit
from zoo.distributions import LOG_2PI
from zoo.slots import Slot, fill
from zoo.verbs import Refusal

MOST = 2**22
"""Numbers that one piece of arithmetic over steps, states and features takes at most."""
LARGEST_SAMPLE = 2**14


class Emission(nn.Module):
    """What all kinds of emission have."""

    support: constraints.Constraint = constraints.real
    missing_code: float = float("nan")
    closed = True

    def missing(self, x: Tensor) -> Tensor:
        """Which numbers of x are not known."""
        return x.isnan() if x.is_floating_point() else x == -1

    def log_probs(self, steps: Tensor) -> Tensor:
        raise NotImplementedError

    def sample(self, states: Tensor) -> Tensor:
        raise NotImplementedError

    def mixed(self, weights: Tensor) -> Tensor | None:
        """What a step is exactly by the weights of its states, [M, K]: [M, D, levels or 2]; None: no closed form."""
        return None

    def settled(self, x: Tensor, cells: Tensor) -> Tensor:
        """Those, with what is known of x put in, the rest of x being missing."""
        raise NotImplementedError

    def start(self, steps: Tensor, generator: torch.Generator) -> Tensor | None:
        """Starting parameters from the steps; the state that each seems to be in, -1 unknown, or None."""
        raise Refusal("this emission has no closed-form steps: fit the hidden Markov model by inference.fit")

    def statistics(self, steps: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError

    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        raise NotImplementedError


class GaussianEmission(Emission):
    """Independent normals for each state: means and log-scales [K, D]."""

    def __init__(self, states: int, features: int, floor: float) -> None:
        super().__init__()
        self.floor = floor
        self.means = nn.Parameter(torch.randn(states, features))
        self.log_scales = nn.Parameter(torch.zeros(states, features))

    def log_probs(self, steps: Tensor) -> Tensor:
        parts = [self._log_probs(part) for part in steps.split(max(1, MOST // self.means.numel()))]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _log_probs(self, steps: Tensor) -> Tensor:
        missing = steps.isnan()
        if not missing.any():
            # steps innermost: the sum over a few features, and over a few states after it, then run along memory
            standard = steps.mT.contiguous().unsqueeze(1) - self.means.mT.unsqueeze(-1)
            standard = standard * (-self.log_scales.mT).exp().unsqueeze(-1)
            constant = self.log_scales.sum(-1) + 0.5 * LOG_2PI * steps.shape[1]
            return (standard.square().sum(0) * -0.5 - constant.unsqueeze(-1)).mT
        standard = (steps.nan_to_num().unsqueeze(1) - self.means) * (-self.log_scales).exp()
        terms = standard.square() * -0.5 - self.log_scales - 0.5 * LOG_2PI
        return terms.masked_fill(missing.unsqueeze(1), 0.0).sum(-1)

    def sample(self, states: Tensor) -> Tensor:
        means = self.means[states]
        return torch.addcmul(means, self.log_scales[states].exp(), torch.randn_like(means))

    def mixed(self, weights: Tensor) -> Tensor:
        """Mean and standard deviation, [M, D, 2]."""
        mean = weights @ self.means
        # about each mixture's own mean, since squares about zero would cancel far from it
        spread = (self.means - mean.unsqueeze(1)).square() + (2 * self.log_scales).exp()
        return torch.stack([mean, (weights.unsqueeze(-1) * spread).sum(1).sqrt()], -1)

    def settled(self, x: Tensor, cells: Tensor) -> Tensor:
        known = torch.stack([x, torch.zeros_like(x)], -1)
        return torch.where(self.missing(x).unsqueeze(-1), cells, known)

    def start(self, steps: Tensor, generator: torch.Generator) -> Tensor:
        """The moments of the clusters that k-means finds."""
        whole = ~steps.isnan().any(-1)
        rows = steps[whole]
        states = len(self.means)
        if len(rows) < states:
            raise ValueError(f"{states} states need at least as many steps without a missing number, not {len(rows)}")
        order = torch.randperm(len(rows), generator=generator, device=generator.device)[:LARGEST_SAMPLE]
        seed = int(torch.randint(2**31 - 1, (1,), generator=generator, device=generator.device))
        sample = rows[order.to(rows.device)].double().cpu().numpy()
        clusters = KMeans(states, n_init=4, random_state=seed).fit(sample)
        found = torch.as_tensor(clusters.predict(rows.double().cpu().numpy()), device=steps.device).long()
        self.means.copy_(torch.as_tensor(clusters.cluster_centers_))
        self.maximise(self.statistics(rows, F.one_hot(found, states).double()))
        labels = torch.full((len(steps),), -1, device=steps.device)
        labels[whole] = found
        return labels

    def _origin(self) -> Tensor:
        return self.means.double().mean(0)

    def statistics(self, steps: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """Sums of weights, and of gaps from the means' middle and their squares by them, [K, D] each."""
        missing = steps.isnan()
        gaps = steps.double() - self._origin()
        if missing.any():
            gaps = gaps.nan_to_num()
            known = weights.mT @ (~missing).double()
        else:
            known = weights.sum(0).unsqueeze(-1).expand(-1, steps.shape[1])
        return known, weights.mT @ gaps, weights.mT @ gaps.square()

    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        known, first, second = statistics
        count = known.clamp(min=torch.finfo(torch.float64).tiny)
        shift = first / count
        variance = (second / count - shift.square()).clamp(min=self.floor)
        told = known > 1e-10
        self.means.copy_(torch.where(told, shift + self._origin(), self.means))
        self.log_scales.copy_(torch.where(told, 0.5 * variance.log(), self.log_scales))


class CategoricalEmission(Emission):
    """Independent categorical variables for each state: logits [K, D, levels]; the code -1 is not known."""

    missing_code = -1

    def __init__(self, states: int, features: int, levels: int) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"levels must be at least 2, not {levels}")
        self.levels = levels
        self.support = constraints.integer_interval(0, levels - 1)
        self.logits = nn.Parameter(torch.randn(states, features, levels))

    def missing(self, x: Tensor) -> Tensor:
        return x.isnan() | (x == -1) if x.is_floating_point() else x == -1

    def _codes(self, steps: Tensor) -> Tensor:
        """Codes with what is missing as a level of its own."""
        return torch.where(self.missing(steps), self.levels, steps.long())  # a byte does not hold the level 256

    def log_probs(self, steps: Tensor) -> Tensor:
        table = F.pad(self.logits.log_softmax(-1), (0, 1)).permute(1, 2, 0)
        codes = self._codes(steps)
        total = F.embedding(codes[:, 0], table[0])
        for d in range(1, codes.shape[1]):
            total = total + F.embedding(codes[:, d], table[d])
        return total

    def sample(self, states: Tensor) -> Tensor:
        chosen = self.logits.softmax(-1)[states]
        return torch.multinomial(chosen.flatten(0, 1), 1).reshape(chosen.shape[:-1])

    def mixed(self, weights: Tensor) -> Tensor:
        """p(code), [M, D, levels]."""
        return torch.einsum("mk,kdl->mdl", weights, self.logits.softmax(-1))

    def settled(self, x: Tensor, cells: Tensor) -> Tensor:
        missing = self.missing(x)
        known = F.one_hot(torch.where(missing, torch.zeros_like(x), x).long(), self.levels).to(cells)
        return torch.where(missing.unsqueeze(-1), cells, known)

    def start(self, steps: Tensor, generator: torch.Generator) -> None:
        """How often each level is met, moved at random for each state."""
        codes = self._codes(steps)
        counts = torch.stack([column.bincount(minlength=self.levels + 1) for column in codes.unbind(1)])
        drawn = torch.rand(self.logits.shape, generator=generator, dtype=torch.float64, device=generator.device)
        usual = (counts[:, : self.levels].double() + 1).log()
        self.logits.copy_((usual + 2 * drawn.to(usual.device)).log_softmax(-1))

    def statistics(self, steps: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
        """Expected counts of each level in each state, [K, D, levels]."""
        codes = self._codes(steps)
        empty = weights.new_zeros(self.levels + 1, weights.shape[1])
        counts = [empty.index_add(0, column, weights)[: self.levels] for column in codes.unbind(1)]
        return (torch.stack(counts).permute(2, 0, 1),)

    def maximise(self, statistics: tuple[Tensor, ...]) -> None:
        (counts,) = statistics
        told = counts.sum(-1, keepdim=True) > 1e-10
        self.logits.copy_(torch.where(told, counts.log().log_softmax(-1), self.logits.double()))


class DensityEmission(Emission):
    """Any explicit models: one for each state, or one that is given the state, one-hot, as its context."""

    closed = False
    one_hot: Tensor

    def __init__(self, states: int, event_shape: torch.Size, emission: Slot | Sequence[Slot]) -> None:
        super().__init__()
        self.states = states
        each = isinstance(emission, Sequence)
        if isinstance(emission, Sequence):
            if len(emission) != states:
                raise ValueError(f"emission lists {len(emission)} models, but there are {states} states")
            built = [fill(slot, f"emission[{k}]", event_shape) for k, slot in enumerate(emission)]
        else:
            built = [fill(emission, "emission", event_shape, states)]
        self.models = nn.ModuleList(built)
        self._parts = [(k, None) for k in range(states)] if each else [(0, k) for k in range(states)]
        supports = {str(model.support) for model in built}
        if len(supports) > 1:
            raise ValueError(f"the emissions must have one support, not {', '.join(sorted(supports))}")
        self.support = built[0].support
        if self.support.is_discrete:
            self.missing_code = -1
        self.register_buffer("one_hot", torch.eye(states), persistent=False)

    def missing(self, x: Tensor) -> Tensor:
        lacking = super().missing(x)
        return lacking | (x == -1) if self.support.is_discrete else lacking

    def _model(self, place: int) -> Explicit:
        model = self.models[place]
        assert isinstance(model, Explicit)
        return model

    def log_probs(self, steps: Tensor) -> Tensor:
        lacking = self.missing(steps).flatten(1)
        if (lacking.any(-1) & ~lacking.all(-1)).any():
            raise ValueError("a step lacks some of its numbers: emissions of this kind take whole steps or none")
        unknown = lacking.any(-1)
        steps = torch.where(self.missing(steps), torch.zeros_like(steps), steps)
        columns = []
        for place, state in self._parts:
            context = None if state is None else self.one_hot[state].expand(len(steps), -1)
            columns.append(self._model(place).log_prob(steps, context=context))
        return torch.stack(columns, -1).masked_fill(unknown.unsqueeze(-1), 0.0)

    def sample(self, states: Tensor) -> Tensor:
        if len(self.models) == 1 and self._parts[0][1] is not None:
            return self._model(0).sample(len(states), context=self.one_hot[states])
        found = None
        for k in range(self.states):
            mine = states == k
            if mine.any():
                drawn = self._model(k).sample(int(mine.sum()))
                found = drawn.new_empty(len(states), *drawn.shape[1:]) if found is None else found
                found[mine] = drawn
        assert found is not None
        return found
