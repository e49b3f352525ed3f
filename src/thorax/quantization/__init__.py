"""Any model to an artifact of the precision that keeps its AUROC."""
