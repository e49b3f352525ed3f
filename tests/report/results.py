"""Result documents for tests, made up but shaped as the commands print them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from thorax.evaluate.score import tabulate
from thorax.labels import NIH14
from thorax.power.sampler import Energy
from thorax.results.benchmark import BenchmarkResult
from thorax.results.energy import DeviceEnergy, WatchResult
from thorax.results.plan import CpuRole, ServerPlan

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
        "topology": "resnet18",
        "digest": f"{precision}-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "device": "FPGA" if simulated else "CPU",
        "devices": ["FPGA" if simulated else "CPU"],
        "precision": precision,
        "compute": "fp11+f32" if simulated else "f32",
        "simulated": simulated,
        "store": "/somewhere/phantoms.store",
        "split": "test",
        **table.model_dump(mode="json"),
        "pointing": {
            "Mass": {"hits": 61, "total": 80, "rate": 61 / 80},
            "Effusion": {"hits": 70, "total": 90, "rate": 70 / 90},
            "Hernia": {"hits": 0, "total": 0, "rate": None},
        },
        "environment": {
            "devices": {"CPU": "Intel(R) Xeon(R) Processor @ 2.10GHz"},
            "processors": 2,
            "openvino": "2026.4.1",
            "thorax": "1.0",
        },
    }


def benchmark(
    precision: str = "fp32", rate: float = 74.2, *, simulated: bool = False, **fields: object
) -> BenchmarkResult:
    """A benchmark; of a simulated card, `rate` is the modelled one, its emulation's is 20."""
    measured = 20.0 if simulated else rate
    device = "HETERO:FPGA,CPU" if simulated else "CPU"
    document: dict[str, object] = {
        "model": "phantoms-resnet18",
        "topology": "resnet18",
        "digest": "9f86d081",
        "device": device,
        "devices": [device],
        "precision": precision,
        "compute": precision if simulated else "f32",
        "simulated": simulated,
        "scenario": "offline",
        "streams": 1 if fields.get("scenario") == "single-stream" else 2,
        "images": round(measured * 10),
        "window_s": 10.02,
        "images_per_s": measured,
        "latency_ms": {"p50": 1e3 / measured, "p90": 1.2e3 / measured, "p99": 1.6e3 / measured},
        "power_w": None,
        "energy_j": None,
        "images_per_s_per_w": None,
        "energy_source": "none",
    }
    if simulated:
        document["modelled"] = {
            "images_per_s": rate,
            "latency_s": 1.2 / rate,
            "power_w": 43.0,
            "images_per_s_per_w": rate / 43,
            "bound_by": "FPGA.0 execute",
            "stages": [{"name": "FPGA.0 execute", "time_s": 1 / rate, "origin": "modelled"}],
            "plus_measured": {
                "measured_s": 0.2 / rate,
                "stage_s": 0.2 / rate,
                "images_per_s": rate,
                "latency_s": 1.4 / rate,
                "bound_by": "FPGA.0 execute",
            },
            "source": "Cycles of 4x2x16x64_fp11 at 243 MHz (calibrated); power of pac-a10.",
        }
    return BenchmarkResult.read(document | fields)


def powered(
    result: BenchmarkResult, power_w: float, idle_w: float, **power: object
) -> BenchmarkResult:
    """The same benchmark under a meter."""
    assert result.window_s
    energy = Energy("rapl", False, result.window_s, power_w * result.window_s, idle_w)
    detail = energy.power_result(result.images_per_s)
    assert detail is not None
    return result.model_copy(
        update={
            "power_w": power_w,
            "energy_j": energy.energy_j,
            "images_per_s_per_w": result.images_per_s / power_w,
            "energy_source": "rapl",
            "power": detail.model_copy(update=power),
        }
    )


def watched() -> WatchResult:
    """What `thorax power watch` prints when it ends."""
    return WatchResult(
        energy_source="rapl",
        quantity="energy",
        modelled=False,
        readings=600,
        duration_s=60.0,
        energy_j=9600.0,
        power_w=160.0,
        least_w=120.0,
        most_w=190.0,
        devices={
            name: DeviceEnergy(energy_j=watts * 60, power_w=watts, counted=name != "dram")
            for name, watts in (("package-0", 81.0), ("package-1", 79.0), ("dram", 22.0))
        },
    )


def server_plan(cards: tuple[int, ...] = (0, 1, 2, 3, 4)) -> ServerPlan:
    """A plan of a server, as `thorax plan server` prints it."""
    from thorax.plan.server import find_preset
    from thorax.plan.server_plan import ServerQuestion, plan_server

    question = ServerQuestion(cards, (CpuRole.ADDITIVE,), images=1000)
    return plan_server(find_preset("r740"), question)


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
        "topology": "resnet18",
        "digest": "int8-9f86",
        "device": "CPU",
        "devices": ["CPU"],
        "precision": "int8",
        "compute": "f32",
        "simulated": False,
        "images": count + 1,
        "failed": 1,
        "window_s": count / 118,
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
        benchmark(name, rate).document()
        for name, rate in (("fp32", 74.2), ("bf16", 131.0), ("int8", 243.7))
    ]
    documents.append(benchmark("int8", 151.0, scenario="single-stream").document())
    documents.append(benchmark("fp11", 612.0, simulated=True).document())
    documents.append(classification(folder))
    return documents
