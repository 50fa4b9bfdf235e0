"""Autoencoder."""

from __future__ import annotations

from zoo.coding import BoxCoded


class Autoencoder(BoxCoded):
    """Autoencoder: a row's code is a point z = f(x), folded into the box [-1, 1]^latent, and p(x | z).

    As a Pyro pair z is uniform on the box and the guide a `Delta` at f(x), so that the pair's ELBO is

        log p(x | f(x)) - latent log 2

    whose gradient is the reconstruction's alone: a flat prior holds no code for likelier than another. It bounds
    nothing, as a point has no density, and nothing holds the codes of data to the flat prior: there is no likelihood
    to ask for, `sample` decodes codes that no row may have, and a `VAE` or an `AdversarialAutoencoder` is what to
    fit where that matters.

    `encode(x)` is for compression and features, `reconstruct(x)` the mean of p(x | f(x)), `anomaly_score(x)` its
    -log p(x | f(x)), nats a row. Shapes: x is [N, *event_shape], z [N, latent], context [N, *context_shape].

    Parameters:
        latent, hidden, encoder, decoder: as `zoo.coding.PointCoded` says. A `HomoscedasticGaussian` decoder is the
            usual squared error, its scale learned beside it.

    References:
        Reducing the Dimensionality of Data with Neural Networks (Hinton and Salakhutdinov, 2006),
        https://doi.org/10.1126/science.1127647
        From Variational to Deterministic Autoencoders (Ghosh et al., 2020), https://arxiv.org/abs/1903.12436
    """
