"""Devices: compiled artifacts, splits between devices, counters, modelled time of cards."""
