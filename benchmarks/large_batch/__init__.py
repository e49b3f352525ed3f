"""What a large batch costs, and what brings it back: `python -m benchmarks.large_batch`."""
