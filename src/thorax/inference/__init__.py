"""Radiographs to findings: one image, a folder, an archive."""
