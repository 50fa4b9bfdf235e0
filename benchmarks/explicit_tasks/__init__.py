"""The figures of the explicit families, a module a task."""
