"""What result files say in documents: figures, pages, bindings, and whether two runs agree."""
