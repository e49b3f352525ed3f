"""Synthetic chest radiographs with findings, boxes and patients."""
