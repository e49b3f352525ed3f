"""Documents of `thorax benchmark` that can be compared."""

from typing import Any

import numpy as np

from thorax.files.documents import document_digest


def run(
    rate: float = 100.0, *others: dict[str, Any], noise: float = 0.01, seed: int = 0
) -> dict[str, Any]:
    """Return a document of `thorax benchmark` whose slices scatter around its rate."""
    random = np.random.Generator(np.random.Philox(key=seed))
    scatter = np.exp(noise * random.normal(size=20))
    return {
        "command": "benchmark",
        "model": "resnet18-int8",
        "topology": "resnet18",
        "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "device": "CPU",
        "devices": ["CPU"],
        "precision": "int8",
        "compute": "f32",
        "simulated": False,
        "scenario": "offline",
        "streams": 2,
        "batch": 1,
        "valid": True,
        "invalid_because": [],
        "images_per_s": rate,
        "latency_ms": {"p50": 1e3 / rate, "p90": 1.2e3 / rate, "p99": 1.6e3 / rate},
        "slices": {
            "images_per_s": (rate * scatter).tolist(),
            "latency_p99_ms": (1.6e3 / rate / scatter).tolist(),
        },
        "energy_source": "none",
        "images_per_s_per_w": None,
        "power": None,
        "environment": {
            "devices": {"CPU": "A Processor", "GPU": "not used"},
            "processors": 2,
            "openvino": "2026.4.1",
            "thorax": "0.1.0",
        },
        **{key: value for other in others for key, value in other.items()},
    }


def digested(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "sha256": document_digest(document)}
