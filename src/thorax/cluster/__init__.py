"""Whether ranks and links are fit to train together."""
