"""What `thorax doctor cluster` prints."""

from typing import Any

from thorax.results.cluster import ClusterDiagnosis


def rank(host: str) -> dict[str, Any]:
    return {
        "rank": 0, "host": host, "cpus": "0-3", "numa": "0", "threads": 4, "images_per_s": 66.0,
        "wait": 0.1, "interface": None, "mtu": None, "slow": False,
    }  # fmt: skip


DOCTOR: dict[str, Any] = {
    "command": "doctor cluster",
    "topology": "resnet18",
    "images": 8,
    "side": 64,
    "precision": "fp32",
    "alpha_s": 4e-5,
    "beta_bytes_per_s": 3e8,
    "ranks": [rank("a"), rank("a"), rank("b"), rank("b")],
    "device": "cpu",
    "compression": "none",
    "backend": "gloo",
    "software": {"thorax": "1", "torch": "2"},
    "turns": 3,
    "gradient_bytes": 700_000,
    "all_reduce": [],
    "links": [],
    "slow_ranks": [],
    "slow_links": [],
    "step_s": 0.2,
    "modelled_step_s": 0.2,
    "batch": None,
    "clock_spread_s": 0.0,
    "expected": [],
    "warnings": [],
    "step": {
        "forward_s": 0.004, "backward_s": 0.011, "jitter": 0.03, "images": None,
        "gradient_bytes": 700_000, "buckets": 3,
    },
}  # fmt: skip

STEP = {"forward_s": 0.1, "backward_s": 0.2, "jitter": 0.0, "images": None}
STEP |= {"gradient_bytes": 27_800_000, "buckets": 2}


def diagnosis(ranks: int) -> ClusterDiagnosis:
    """Return what the command answers for so many ranks, each slower than the one before."""
    document = {
        **DOCTOR,
        "topology": "densenet121",
        "images": 4,
        "side": 224,
        "slow_ranks": [rank for rank in range(ranks) if rank > 1],
        "step": STEP,
        "backend": "gloo" if ranks > 1 else None,
        "gradient_bytes": 27_800_000,
        "ranks": [
            {
                "rank": rank,
                "host": f"a-host-with-a-name-{rank:04d}.of.a.large.hospital.example",
                "cpus": "0-27,56-83,112-139",
                "numa": "0,2,4,6,8,10",
                "threads": 56,
                "interface": None,
                "mtu": None,
                "images_per_s": 20_000.0 / (1 + rank),
                "wait": 0.5,
                "slow": rank > 1,
            }
            for rank in range(ranks)
        ],
        "all_reduce": [
            {
                "bytes": size,
                "latency_s": 1e-3,
                "algorithm_bytes_per_s": size / 1e-3,
                "bus_bytes_per_s": size / 1e-3,
            }
            for size in ((4, 4096, 64 << 20) if ranks > 1 else ())
        ],
        "links": [
            {
                "ranks": [rank, (rank + 1) % ranks],
                "hosts": [f"a-host-with-a-name-{rank:04d}", f"another-host-{rank + 1:04d}"],
                "latency_s": 1e-5,
                "bytes_per_s": 1e10 / (1 + rank),
                "slow": False,
            }
            for rank in range(ranks if ranks > 1 else 0)
        ],
        "alpha_s": 1e-5 if ranks > 1 else None,
        "beta_bytes_per_s": 1e10 if ranks > 1 else None,
        "step_s": 0.5,
        "modelled_step_s": 0.4,
        "expected": [
            {"ranks": 1, "batch": 4, "step_s": 0.3, "images_per_s": 13.3, "efficiency": 1.0}
        ],
    }
    return ClusterDiagnosis.read(document)
