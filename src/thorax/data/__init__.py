"""Sources of labelled radiographs, and the store they are decoded into."""
