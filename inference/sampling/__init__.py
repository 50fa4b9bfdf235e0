"""Chains: the log density of a program, and the kernels that move on it."""
