"""The figures of the latent families, a module a task."""
