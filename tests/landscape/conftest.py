"""A network and a store that are trained on in a second."""

from tests.tiny_training import one_thread, recipe, store, tiny

__all__ = ["one_thread", "recipe", "store", "tiny"]
