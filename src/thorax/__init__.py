"""Thorax: a chest X-ray classifier from training to the reading room.

The modules in pipeline order::

    radiograph -> data -> training -> ir -> devices -> predict -> measure

``labels``, ``preprocess``, ``metrics`` and ``artifact`` are what the stages hand each other.
Research software, not a medical device.
"""

import sys

__version__ = "0.1.0"

# OpenVINO posts to Google Analytics whenever it is imported, unless this package of its is missing.
# Here, because this line alone runs before every module that imports OpenVINO.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
