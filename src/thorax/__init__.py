"""Thorax: a chest X-ray classifier from training to the reading room.

The modules in pipeline order::

    radiograph -> data -> training -> ir -> devices -> predict -> measure

``labels``, ``preprocess``, ``metrics`` and ``artifact`` are what the stages hand each other.
Research software, not a medical device.
"""

__version__ = "0.1.0"
