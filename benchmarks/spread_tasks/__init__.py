"""The tasks of `python -m benchmarks.spread`."""
