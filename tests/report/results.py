"""Result documents for tests, made up but shaped as the commands print them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from thorax.evaluate.score import tabulate
from thorax.labels import NIH14

PRECISIONS = {"fp32": 0.0, "bf16": 0.02, "int8": 0.12}


def validation(
    precision: str = "fp32", *, noise: float = 0.0, simulated: bool = False, images: int = 900
) -> dict[str, Any]:
    random = np.random.default_rng(11)
    truth = (random.random((images, 14)) < np.linspace(0.04, 0.2, 14)).astype(np.int8)
    skill = np.linspace(1.0, 3.0, 14)
    logit = skill * truth + random.normal(-2.5, 1.0, truth.shape)
    logit += noise * np.random.default_rng(5).normal(size=truth.shape)
    patients = [f"p{n:04d}" for n in random.integers(images // 3, size=images)]
    table = tabulate(NIH14.findings, truth, 1 / (1 + np.exp(-logit)), patients, samples=60)
    return {
        "command": "validate",
        "model": "phantoms-resnet18",
        "digest": f"{precision}-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "device": "FPGA" if simulated else "CPU",
        "precision": precision,
        "simulated": simulated,
        "store": "/somewhere/phantoms.store",
        "split": "test",
        **table.document(),
        "pointing": {
            "Mass": {"hits": 61, "total": 80, "rate": 61 / 80},
            "Effusion": {"hits": 70, "total": 90, "rate": 70 / 90},
            "Hernia": {"hits": 0, "total": 0, "rate": None},
        },
        "environment": {
            "devices": {"CPU": "Intel(R) Xeon(R) Processor @ 2.10GHz"},
            "processors": 2,
            "openvino": "2026.4.1",
        },
        "provenance": {"seed": 0, "recipe": "recipes/phantoms_resnet18_cpu.toml"},
    }


def benchmark(
    precision: str = "fp32",
    rate: float = 74.2,
    *,
    simulated: bool = False,
    scenario: str = "offline",
) -> dict[str, Any]:
    """A benchmark; of a simulated card, `rate` is the modelled one, its emulation's is 20."""
    if simulated:
        return {
            **benchmark(precision, 20.0, scenario=scenario),
            "device": "HETERO:FPGA,CPU",
            "simulated": True,
            "modelled": {
                "images_per_s": rate,
                "latency_s": 1.2 / rate,
                "power_w": 43.0,
                "images_per_s_per_w": rate / 43,
                "bound_by": "FPGA.0 execute",
                "stages": [
                    {"name": "FPGA.0 execute", "time_s": 1 / rate, "origin": "modelled"},
                    {"name": "other devices", "time_s": 0.2 / rate, "origin": "measured"},
                ],
                "source": "Cycles of 4x2x16x64_fp11 at 243 MHz (calibrated); power of pac-a10.",
            },
        }
    return {
        "command": "benchmark",
        "model": "phantoms-resnet18",
        "device": "CPU",
        "precision": precision,
        "simulated": False,
        "scenario": scenario,
        "streams": 1 if scenario == "single-stream" else 2,
        "images": round(rate * 10),
        "window_s": 10.02,
        "images_per_s": rate,
        "latency_ms": {"p50": 1e3 / rate, "p90": 1.2e3 / rate, "p99": 1.6e3 / rate},
        "power_w": None,
        "energy_j": None,
        "images_per_s_per_w": None,
        "energy_source": "none",
    }


def powered(document: dict[str, Any], power_w: float, idle_w: float) -> dict[str, Any]:
    """The same benchmark under a meter."""
    rate, marginal_w = document["images_per_s"], power_w - idle_w
    return {
        **document,
        "power_w": power_w,
        "energy_j": power_w * document["window_s"],
        "images_per_s_per_w": rate / power_w,
        "energy_source": "rapl",
        "power": {
            "modelled": False,
            "load_w": power_w,
            "idle_w": idle_w,
            "marginal_w": marginal_w,
            "images_per_s_per_w": rate / power_w,
            "marginal_images_per_s_per_w": rate / marginal_w,
            "samples": 100,
            "interval_s": 0.1,
            "devices": {
                "package-0": {
                    "load_w": power_w, "idle_w": idle_w, "marginal_w": marginal_w, "counted": True,
                },
            },
        },
    }  # fmt: skip


def watched() -> dict[str, Any]:
    """What `thorax power watch` prints when it ends."""
    devices = {
        name: {"energy_j": power_w * 60, "power_w": power_w, "counted": name != "dram"}
        for name, power_w in (("package-0", 81.0), ("package-1", 79.0), ("dram", 22.0))
    }
    return {
        "command": "power watch",
        "energy_source": "rapl",
        "quantity": "energy",
        "modelled": False,
        "readings": 600,
        "duration_s": 60.0,
        "energy_j": 9600.0,
        "power_w": 160.0,
        "least_w": 120.0,
        "most_w": 190.0,
        "devices": devices,
    }


def server_plan(cards: tuple[int, ...] = (0, 1, 2, 3, 4)) -> dict[str, Any]:
    """A plan of a server, as `thorax plan server` prints it."""
    from thorax.plan.presets import find_preset
    from thorax.plan.server import Reading
    from thorax.plan.server_plan import Demand, plan_server

    demand = Demand(images=1000)
    return plan_server(find_preset("r740"), cards, (Reading("additive"),), demand=demand)


def optimization(precision: str, size_bytes: int, drop: float | None) -> dict[str, Any]:
    return {
        "command": "optimize",
        "artifact": f"runs/phantoms/{precision}",
        "precision": precision,
        "size_bytes": size_bytes,
        "parameters": 11_176_910,
        "macs": 1_743_000_000,
        "auroc_drop": drop,
        "largest_difference": 1e-6,
    }


def training() -> dict[str, Any]:
    return {
        "command": "train",
        "checkpoint": "runs/phantoms/checkpoint",
        "topology": "resnet18",
        "steps": 1200,
        "images_per_s": 63.4,
        "mean_auroc": 0.93,
        "auroc": {"Mass": 0.95},
        "history": [
            {
                "epoch": epoch,
                "loss": 0.35 * 0.8**epoch + 0.08,
                "val_mean_auroc": 0.94 - 0.4 * 0.7**epoch,
                "images_per_s": 63.0,
            }
            for epoch in range(1, 11)
        ],
    }


def classification(folder: Path, *, count: int = 5) -> dict[str, Any]:
    results: list[dict[str, Any]] = []
    random = np.random.default_rng(4)
    for place in range(count):
        y, x = np.mgrid[:574, :1100]
        glow = np.exp(-((x % 512 - 150 - 40 * place) ** 2 + (y - 260) ** 2) / 9000) * 255
        picture = cv2.applyColorMap(glow.astype(np.uint8), cv2.COLORMAP_INFERNO)
        path = folder / f"{place:03d}.png"
        cv2.imwrite(str(path), picture)
        findings = dict(zip(NIH14.findings, random.random(14).round(3).tolist(), strict=True))
        results.append(
            {
                "image": f"/somewhere/images/{place:08d}_000.png",
                "findings": findings,
                "positive": [name for name, value in findings.items() if value > 0.9],
                "error": None,
                "heatmaps": {max(findings, key=findings.__getitem__): str(path)},
            }
        )
    results.append(
        {
            "image": "broken.dcm",
            "findings": {},
            "positive": [],
            "error": {"code": "dicom-truncated", "message": "pixel data end after 17 bytes"},
        }
    )
    return {
        "command": "classify",
        "model": "phantoms-resnet18",
        "device": "CPU",
        "precision": "int8",
        "simulated": False,
        "images_per_s": 118.0,
        "results": results,
    }


def everything(folder: Path) -> list[dict[str, Any]]:
    """One of each, as `thorax demo` would gather them."""
    documents = [training()]
    documents += [
        optimization(name, size, drop)
        for name, size, drop in (
            ("fp32", 44_707_640, None),
            ("bf16", 22_400_000, 0.0001),
            ("int8", 11_290_000, 0.0013),
        )
    ]
    documents += [validation(name, noise=noise) for name, noise in PRECISIONS.items()]
    documents += [
        benchmark(name, rate) for name, rate in (("fp32", 74.2), ("bf16", 131.0), ("int8", 243.7))
    ]
    documents.append(benchmark("int8", 151.0, scenario="single-stream"))
    documents.append(benchmark("fp11", 612.0, simulated=True))
    documents.append(classification(folder))
    return documents
