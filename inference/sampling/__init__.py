"""Samplers of unconstrained log densities: many chains in one batch."""
