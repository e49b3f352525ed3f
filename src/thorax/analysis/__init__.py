"""What a graph costs, layer by layer, and where two graphs part."""
