"""AUROC of an artifact or of anybody's predictions."""
