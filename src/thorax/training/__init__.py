"""Training on one machine or many, to a checkpoint."""
