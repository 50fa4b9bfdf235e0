"""The tasks of `python -m benchmarks.elimination`."""
