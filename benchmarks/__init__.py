"""One script per claim, each run from the root of the repository: `python -m benchmarks.CLAIM`."""
