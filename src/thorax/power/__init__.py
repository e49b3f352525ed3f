"""Watts and joules: meters, sampling, logs."""
