"""How a claim is measured: sides by turns, their processes, the load beside them, the result."""
