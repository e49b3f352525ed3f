"""The classic Model Optimizer, by the flags of 2018."""
