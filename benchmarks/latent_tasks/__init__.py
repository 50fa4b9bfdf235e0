"""The figures of the latent-variable families, a module a task."""
