"""What can be asked of any Pyro pair and any pgmpy graph: fit, log_likelihood, query, diagnose, evaluate."""
