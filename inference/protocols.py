"""What the layer asks of a model. It knows these protocols and never a class of the zoo.

A user's own object takes part as soon as it has the methods; nothing is inherited. x is always a tensor
[N, *event_shape], context [N, *context_shape] or None, and likelihoods are in nats a row.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import Any, Protocol

import torch
from pyro import poutine
from torch import Tensor

FEW = 4
"""Rows that a pair is run on to see what its site "x" is."""


class Pair(Protocol):
    """A Pyro pair: sites "x" (observed) and any latents, inside the plate "data"."""

    def model(self, x: Any = None, *, context: Any = None, n: int = 1) -> Any: ...
    def guide(self, x: Any, *, context: Any = None) -> Any: ...


class Samples(Protocol):
    def sample(self, n: int = 1, *, context: Tensor | None = None) -> Tensor: ...


class Density(Protocol):
    """An exact likelihood: [N] nats."""

    def log_prob(self, x: Tensor, *, context: Tensor | None = None) -> Tensor: ...


class Sequential(Protocol):
    """Rows of codes 0..levels-1 made number by number, in an order of the model's own.

    `unroll(choose, rows)` asks `choose(i, logits)` for the codes [rows] of the order's number i, given the logits
    [rows, levels] of its levels given those before, and gives all codes, [rows, *event_shape]. The same choices in the
    same number of rows must be given the same logits to the bit. Optional: `order`, a tensor with the place in a
    flattened row of each number of the order; without it the order is that of memory.
    """

    levels: int
    event_shape: Any

    def unroll(self, choose: Any, rows: int, *, context: Tensor | None = None) -> Tensor: ...


class Latent(Protocol):
    """p(z), p(x | z) and q(z | x), each a distribution whose batch is the rows."""

    def prior(self, context: Tensor | None = None) -> Any: ...
    def decoder(self, z: Tensor, context: Tensor | None = None) -> Any: ...
    def encoder(self, x: Tensor, context: Tensor | None = None) -> Any: ...


class Conjugate(Latent, Density, Protocol):
    """A latent variable known exactly: `posterior(x)` is p(z | x), a distribution with mean and standard deviation.

    Its likelihood is exact too. Rows that lack cells may be given where the model is `Incomplete`.
    """

    def posterior(self, x: Tensor, context: Tensor | None = None) -> Any: ...


class Enumerable(Latent, Protocol):
    """Latents of few values: `codebook` is all of them, [K, *z], and `log_joint(x, context)` log p(x, each), [N, K]."""

    codebook: Any

    def log_joint(self, x: Tensor, context: Tensor | None = None) -> Tensor: ...


class Coded(Latent, Protocol):
    """z is made of codes 0..levels-1, [N, codes]; `soft_decoder` reads shares of the levels, [N, codes, levels]."""

    levels: int

    def soft_decoder(self, shares: Tensor, context: Tensor | None = None) -> Any: ...


class Classed(Latent, Protocol):
    """Latents whose context is the class of each row, [N] of 0..classes-1, -1 where it is not known and summed out.

    `class_prior()` is p(y) and `classifier(x)` q(y | x), each with normalised `logits`, [K] and [N, K].
    """

    classes: int

    def class_prior(self) -> Any: ...
    def classifier(self, x: Tensor) -> Any: ...


class Layered(Latent, Protocol):
    """Latents in layers, a site each: `sites` maps their names to how many of z's numbers each has, in z's order.

    Prior and encoder are chains: `layers(z)` are the distributions of each layer given those above it in z, `sizes`
    how many numbers each has.
    """

    sites: Any


class Corrupting(Latent, Protocol):
    """Latents whose encoder reads a corrupted row x', drawn from `corrupted(x)`, and whose decoder tells x itself."""

    def corrupted(self, x: Tensor) -> Any: ...


class Stepwise(Latent, Protocol):
    """A latent that is a chain of `steps` steps, whose bound is a sum over them, each known at one draw of its own.

    `step(x, t, context, given)` is each row's own step t [N], 1..steps, drawn anew: an object with `divergence()`, [N]
    nats; `error()`, [N], the square error of the noise that was told; `variance_divergence()`, `divergence()` with a
    gradient to the variances alone; `settled()`, [N] nats, what no step is needed for; `steps`, `model` and `x`.
    `given` [N] says whose context is told, or is None. Minus the ELBO is `settled(x)` and the sum over t of
    E `divergence()`. `untold` is the share of rows that training tells no context; `learns_schedule` and
    `learns_variance` say what is learned beside the network's guess of x.
    """

    steps: int
    untold: float
    learns_schedule: bool
    learns_variance: bool

    def step(self, x: Tensor, t: Tensor, context: Tensor | None = None, given: Tensor | None = None) -> Any: ...
    def settled(self, x: Tensor) -> Tensor: ...


class Reversible(Latent, Protocol):
    """A chain of steps that add noise to a row, and one that takes it away again, cell by cell.

    `noise_levels()` are `alpha`, `sigma`, `shrink` and `spread`, each [T], from the least noise to the most: z_k is
    N(alpha x, sigma^2), x as `scaled(x)` has it, and given z_(k-1) it is N(shrink z_(k-1), spread^2); `one(k)` are
    those of one step. `reverse(z, levels, context)` is the normal p(z_(k-1) | z_k), and `written` makes of p(z_0 | z_1)
    the distribution of x. Both give `cell_log_prob`.
    """

    def noise_levels(self) -> Any: ...
    def scaled(self, x: Tensor) -> Tensor: ...
    def reverse(self, z: Tensor, at: Any, context: Tensor | None = None) -> Any: ...
    def written(self, normal: Any) -> Any: ...


class Flowing(Protocol):
    """Rows moved to noise by a differential equation: `flow_path(steps)` is a path with `positions` [K], increasing,
    `velocity(z, k, context)`, dz by the position, `enter(x)`, (z at the first, log volume [N]), `leave(z)`, log p(z)
    [N] at the last, and `coarser()`, the path with half the steps.
    """

    def flow_path(self, steps: int) -> Any: ...


class CodeMatched(Latent, Protocol):
    """Latents with a critic (z[, context]) -> logits [N] of "z is a draw of the prior"; each part a module."""

    prior_model: Any
    decoder_model: Any
    encoder_model: Any
    code_critic: Any


class Similar(Latent, Protocol):
    """Latents whose p(x | z) has as its mean what a generator makes, and a critic whose features compare rows."""

    prior_model: Any
    encoder_model: Any
    generator: Any
    critic: Any

    def critic_features(self, x: Tensor, context: Tensor | None = None) -> Tensor: ...


class Bounded(Protocol):
    """A lower bound of its own on the mean log-likelihood of a batch: a scalar, nats a row."""

    def elbo(self, x: Tensor) -> Tensor: ...


class Energy(Protocol):
    """A density up to a constant, exp(-free_energy(x)), and a chain that keeps it.

    Optional: `log_partition() -> Tensor` where log Z can be summed; `initialise(x)`, starting parameters from
    the first batch, which does nothing on a model already initialised; `contrast(x, chains, steps) -> (gap,
    gradients, chains)`, the gradient by each of `parameters()` of mean free_energy(x) - mean
    free_energy(chains), a function that gives a gap in nats, and the chains' rows after `steps` sweeps more;
    `annealing(data=None)`, the path that `inference.ais` takes; `exact_rows(n)`, independent draws where log Z can be
    summed. A model whose log Z depends on a row's form (its length, the cells it lacks) gives `strata(x)`: indices of
    rows that share one, and the energy that has it, itself where they have the form of its own draws.
    """

    def free_energy(self, x: Tensor) -> Tensor: ...
    def gibbs_step(self, x: Tensor) -> Tensor: ...
    def start(self, n: int) -> Tensor: ...


class Joined(Energy, Protocol):
    """An energy with hidden units: `joint` is the `Energy` of x and hidden units together, a row for each."""

    joint: Any


class Clampable(Energy, Protocol):
    """An energy of bits, any of which may be held: `clamped(x, known)`, known of x's shape, is an object for N rows of
    units [N, units], those of x first and then hidden ones, with

        summable            whether what is not known can be summed over, for
        sums()              P(unit = 1 | what is known), [N, units], and log of what exp(-energy) sums to, [N]
        mean_field()        the same by independent units: probabilities, and a lower bound of that log
        begin(chains)       states [chains N, units], copies of all rows one after the other, to begin chains from
        step(states)        after a Gibbs sweep: states, and P(unit = 1 | the rest) as each was drawn by
        energy(states)      nats, up to a constant a row
    """

    def clamped(self, x: Tensor, known: Tensor) -> Any: ...


class Stack(Protocol):
    """Energies one above the other, `layers`, fitted from the bottom up.

    `upward(x, k)` draws what layer k is to model; `begin(k)` starts it as the one below turned over, where that fits.
    """

    layers: Any

    def upward(self, x: Tensor, layer: int) -> Tensor: ...
    def begin(self, layer: int) -> bool: ...


class Stacked(Stack, Latent, Protocol):
    """A model made of a stack: its last layer is `top`, and the others are directed downwards.

    `unnormalised()` is the model as a `Latent` whose prior lacks log Z of the top.
    """

    top: Any

    def unnormalised(self) -> Any: ...


class Held(Energy, Protocol):
    """An energy of numbers or codes, any of which may be held: `held(x, known)`, known of x's shape, is an object with

    levels         how many codes a cell may have; None of numbers
    summable       whether what is not known can be summed over, for
    sums()         what each cell is: of numbers mean and standard deviation, of codes p(code), [N, *event, last]
    step(rows)     chains of all rows, copies one after the other [chains N, features], a sweep later
    """

    def held(self, x: Tensor, known: Tensor) -> Any: ...


class ClassEnergy(Energy, Protocol):
    """An energy of rows and classes: `split(rows)` is x and the class as one-hot, `class_logits(x)` log p(y | x) [N, K]
    up to a constant.
    """

    classes: int

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]: ...
    def class_logits(self, x: Tensor) -> Tensor: ...


class Generating(Protocol):
    """Noise made into x: `noise(n)` is n rows of it, `generate(noise, context)` x for each."""

    def noise(self, n: int) -> Tensor: ...
    def generate(self, noise: Tensor, context: Tensor | None = None) -> Tensor: ...


class CodeGenerating(Generating, Protocol):
    """A generator of codes: x is what `autoencoder`, a model with latents, decodes of `generate_code(noise)`.

    `code(x)` is the code of each row, [N, D], among which the generated ones are to lie.
    """

    autoencoder: Any
    generator: Any

    def generate_code(self, noise: Tensor, context: Tensor | None = None) -> Tensor: ...
    def code(self, x: Tensor, context: Tensor | None = None) -> Tensor: ...


class Generator(Generating, Protocol):
    """A generator and the critic it is trained against, two modules with parameters of their own."""

    critic: Any
    generator: Any


class Imitating(Generator, Protocol):
    """A generator whose critic sees rows in another form: `shown(x)` real ones, `imitate(noise, context)` made ones.

    The generator learns through what it imitates, as codes that are softened choices, where x itself has no gradient.
    """

    def shown(self, x: Tensor) -> Tensor: ...
    def imitate(self, noise: Tensor, context: Tensor | None = None) -> Tensor: ...


class AutoEncoding(Generator, Protocol):
    """A generator that rebuilds rows of their codes, and a critic (z[, context]) -> logits [N] of "z is noise"."""

    encoder_model: Any
    code_critic: Any

    def code(self, x: Tensor, context: Tensor | None = None) -> Tensor: ...


class Paired(Generator, Protocol):
    """A generator whose context belongs to one row: `from_partner(made, x)` is how far a row made of it is off, [N]."""

    def from_partner(self, made: Tensor, x: Tensor) -> Tensor: ...


class Cyclic(Generator, Protocol):
    """A generator of x from a context and one of the context from x, each with a critic of what it makes alone.

    Rows and contexts are draws of two domains, those of one row no pair: `critic(x)` and `context_critic(context)`.
    """

    context_generator: Any
    context_critic: Any

    def generate_context(self, noise: Tensor, x: Tensor) -> Tensor: ...


class Styled(Generator, Protocol):
    """A generator that reads features of a context, gives them a style and writes them as an image.

    `adapted(features, style)` are the features in that style; `style(noise)` is one of x's domain, `style_of(features)`
    the one that features have. `read` takes images of both domains, whose rows are no pairs.
    """

    def read(self, image: Tensor) -> Tensor: ...
    def style(self, noise: Tensor) -> Tensor: ...
    def style_of(self, features: Tensor) -> Tensor: ...
    def adapted(self, features: Tensor, style: Tensor) -> Tensor: ...
    def write(self, features: Tensor) -> Tensor: ...


class ClosedForm(Protocol):
    """What `em` asks: statistics that add up over blocks of rows, and the parameters that maximise them.

    `em_start(x, generator)` sets starting parameters from the data. `prepare(x)` turns rows, once, into what
    `expect` reads. `expect(prepared)` gives (statistics, log-likelihood summed over the rows): a tuple of
    tensors that add over blocks and processes. `maximise(statistics)` sets the parameters. Optional:
    `log_prior()`, where `maximise` maximises a posterior: the parameters' log density, nats up to a constant.
    """

    def em_start(self, x: Tensor, generator: torch.Generator) -> None: ...
    def prepare(self, x: Tensor) -> Tensor: ...
    def expect(self, prepared: Tensor) -> tuple[tuple[Tensor, ...], Tensor]: ...
    def maximise(self, statistics: tuple[Tensor, ...]) -> None: ...


class Advising(Protocol):
    """A model that says how it is best fitted to so many rows, where the caller of `fit` doesn't say how long.

    `recipe(rows)` gives keywords of `fit` for what was left open, such as steps, validation, patience, optimizer or
    transform; an empty mapping where it knows nothing better.
    """

    def recipe(self, rows: int) -> Any: ...


class StateSpace(Protocol):
    """A state that moves at random and is not seen, and data of it at times: for B values of the parameters at once.

    `parameters` are {name: [B, *shape]}, and states [B, n, ...], n particles of each. `draw_start` gives n at the first
    time, `advance` those at `t_next` of those at `t` (numbers), and `log_observation` log p(y_t | state), [B, n] nats,
    y_t being [*y]. It is never asked of an observation that is NaN throughout. Random numbers are torch's global ones,
    which the caller seeds. Optional: `draw_observation(parameters, state)`, an observation of each, [B, n, *y].
    """

    def draw_start(self, parameters: Any, n: int) -> Tensor: ...
    def advance(self, parameters: Any, state: Tensor, t: float, t_next: float) -> Tensor: ...
    def log_observation(self, parameters: Any, state: Tensor, y_t: Tensor) -> Tensor: ...


class Graph(Protocol):
    """A pgmpy graph of tables, `DiscreteBayesianNetwork` as it stands."""

    def nodes(self) -> Any: ...
    def get_cpds(self, node: Any = None) -> Any: ...
    def check_model(self) -> bool: ...


class Tabular(Protocol):
    """A directed network of tables that knows them as tensors: `parents` are positions in `variables`.

    `probabilities()` gives P(v | parents) for each variable, [*parents' states, states], its columns summing
    to one.
    """

    variables: Any
    states: Any
    parents: Any

    def probabilities(self) -> list[Tensor]: ...


class Incomplete(Protocol):
    """A model whose rows may lack cells: `missing_code`, a code or NaN, stands for a value that is not known.

    `em`, `fit` and `log_likelihood` take such rows. Where the model is `Tabular` too they sum over what is
    missing by elimination, and `maximise((counts,))` takes expected counts of all tables' entries, the tables
    in the order of `variables`, end to end. Any other model sums over it by itself, in its own `log_prob` and
    `expect`. Whoever else is given such rows refuses them.
    """

    missing_code: float


class Completes(Protocol):
    """A model that knows a part of x given the rest exactly; `known`, of x's shape, says which cells are given.

    What x holds elsewhere does not matter. `cells(x, known)` is what each cell is by itself: of numbers mean and
    standard deviation, [*x.shape, 2]; of codes p(code), [*x.shape, levels]; None where there is no closed form.
    `complete(x, known, draws)` is rows whose gaps are drawn together, [draws, *x.shape]. Optional:
    `log_known(x, known)`, log p(the known cells), [N], of a model whose `log_prob` takes whole rows only.
    """

    def cells(self, x: Tensor, known: Tensor) -> Tensor | None: ...
    def complete(self, x: Tensor, known: Tensor, draws: int = 1) -> Tensor: ...


class IncompleteTables(Incomplete, Tabular, Protocol):
    """Both: a network of tables whose rows may lack cells."""


class Conditional(Protocol):
    """A density given its parents, which are known by name: codes [N] of a discrete one, values [N, *shape] of another.

    `states` says how many states each discrete parent has. `log_prob(x, given)` is [N, *states of each discrete
    parent that is not given], in nats, and `likelihood` what it is: "exact", "lower bound" or "estimate".
    `sample(given, n)` draws n rows.
    """

    parents: Any
    states: Any
    event_shape: Any
    likelihood: Any

    def log_prob(self, x: Tensor, given: Any) -> Tensor: ...
    def sample(self, given: Any, n: int) -> Tensor: ...


class Hybrid(Protocol):
    """A network of tables (`discrete`, a `Tabular`) and of densities, each `Conditional`, by name, parents first."""

    discrete: Any
    densities: Any


class OnGraph(Protocol):
    """A spread on a graph, in steps: nodes are in `compartments`, and it is `simulate`d from those that begin.

    `graph` has `nodes` (labels), `n`, and out-edges by rows: `indptr`, `indices`, `weights` or None.
    `simulate(start, steps, replicates=..., seed=...)` gives an object with `states` [replicates, n], the compartment at
    the end, `reached` [replicates, n], the step at which a node left the first compartment or -1, and `counts`
    [replicates, steps + 1, compartments]; `start` maps compartments to labels, all others are in the first. Where
    edges pass it on by hazards it has `rates` by name and `step`, the length of one.
    """

    compartments: Any
    graph: Any

    def simulate(self, start: Any, steps: int, *, replicates: int = 1, seed: int = 0) -> Any: ...


class Epidemic(Protocol):
    """A spread in a mixed population: a Pyro program of new cases, `priors` of its rates, `start` its heads."""

    compartments: Any
    priors: Any
    start: Any

    def model(self, cases: Any = None) -> Any: ...


def parts_of(model: Any, z: Tensor) -> dict[str, Tensor]:
    """The latents that z holds, by name: one, "z", where it is not made of layers."""
    if not offers(model, Layered):
        return {"z": z}
    return dict(zip(model.sites, z.split(list(model.sites.values()), -1), strict=True))


def sums_out(model: Any) -> bool:
    """Whether a model's own `log_prob` and `expect` take rows that lack cells."""
    return offers(model, Incomplete) and not offers(model, Tabular)


def offers(model: Any, protocol: type) -> bool:
    """Whether a model has all that a protocol names: methods of its class, or modules it holds."""
    return not lacks(model, protocol)


def lacks(model: Any, protocol: type) -> list[str]:
    """What a protocol names that a model has not."""
    names = {name for part in protocol.__mro__ for name in (*vars(part), *inspect.get_annotations(part))}
    return sorted(name for name in names if not name.startswith("_") and not hasattr(model, name))


def graph_of(model: Any) -> Any | None:
    """The pgmpy graph that a model is, or holds as `.graph`; None where there is none."""
    for candidate in (model, getattr(model, "graph", None)):
        if offers(candidate, Graph):
            return candidate
    return None


def has_likelihood(model: Any) -> bool:
    """Whether rows can be scored: exactly, up to log Z, or by a guide; noise made into x has no density.

    A model may say that it has none, `likelihood = None`, as one whose guide is a point does.
    """
    if getattr(model, "likelihood", "not said") is None:
        return False
    if any(offers(model, protocol) for protocol in (Density, Energy, Latent)):
        return True
    return offers(model, Pair) and not (hasattr(model, "generate") and hasattr(model, "noise"))


def measure_of(model: Any, x: Tensor | None = None, context: Tensor | None = None) -> str:
    """Whether a model's likelihood is a "density" or a "mass": as it says, or by its support.

    A pair that says neither is run on a few of the rows x, for the support of its site "x"; without rows, or
    without such a site, it is taken for a density.
    """
    if hasattr(model, "measure"):
        return model.measure
    support = getattr(model, "support", None)
    if support is None and x is not None and offers(model, Pair) and has_likelihood(model):
        given = None if context is None else context[:FEW]
        support = _support_of_x(model, x[:FEW], given)
    return "mass" if getattr(support, "is_discrete", False) else "density"


def _support_of_x(model: Pair, x: Tensor, context: Tensor | None) -> Any:
    site = poutine.trace(model.model).get_trace(x, context=context).nodes.get("x", {})
    try:
        return getattr(site.get("fn"), "support", None)
    except NotImplementedError:  # a distribution that does not say
        return None


def by_row(values: Tensor, shape: tuple[int, ...], model: Any, part: str) -> Tensor:
    """A part's values, refused unless there is one for each row: their mean would be of something else."""
    if values.shape != shape:
        raise ValueError(
            f"{name_of(model)}: {part} gives values of shape {list(values.shape)}, not {list(shape)}, one a row; "
            "a distribution's batch shape must be the rows (see Distribution.to_event)"
        )
    return values


def name_of(model: Any) -> str:
    return type(model).__name__


def given_context(function: Any, context: Tensor | None) -> Any:
    """A model or guide with its context bound: Pyro's handlers can't pass on a keyword of that name."""
    return function if context is None else partial(function, context=context)
