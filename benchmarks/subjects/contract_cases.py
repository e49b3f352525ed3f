"""The command lines that `command_contract` records, and the small workspace that they work on.

All paths are relative to the workspace, so that no answer names the machine. A step that is no
command line changes files between two of them.
"""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROOT: Final = Path(__file__).resolve().parents[1]
FINDINGS: Final = 14
SIDE: Final = 64
BITSTREAM: Final = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
SMALL: Final = (
    "--set training.epochs=2 --set training.batch=8 --set training.workers=1 "
    "--set training.threads=1"
)
SERVER: Final = """\
[[devices]]
name = "two processors"
idle_w = 90.0
busy_w = 300.0
source = "assumed"

[[devices]]
name = "PAC"
board = "pac-a10"
"""


@dataclass(frozen=True, slots=True)
class Case:
    """A command line.

    Attributes:
        line: what follows `thorax`, but for --json; what stands behind " > " is a file that takes
            the answer.
        as_json: whether --json is added; else it answers as it does to a person.
        ranks: processes that torchrun starts of it.
    """

    line: str
    as_json: bool = True
    ranks: int = 1

    @property
    def name(self) -> str:
        """What it is called in records and tables."""
        launched = f"{self.ranks} ranks: " if self.ranks > 1 else ""
        return f"{launched}thorax {self.line}{' --json' if self.as_json else ''}"


Step = Case | Callable[[Path], None]


def prepare(work: Path) -> None:
    """Write what the first command line needs into an empty workspace."""
    shutil.copytree(ROOT / "recipes", work / "recipes")
    for name in ("network.py", "log_sum_exp_pool.py"):
        shutil.copyfile(ROOT / "examples" / "custom_layer" / name, work / name)
    (work / "server.toml").write_text(SERVER, "utf-8")
    (work / "network.onnx").write_bytes(_network(3, FINDINGS).SerializeToString())
    (work / "pool.onnx").write_bytes(_network(1, 2, pool="example").SerializeToString())
    (work / "empty").mkdir()
    (work / "nothing.json").write_text("{}\n", "utf-8")


def _network(channels: int, findings: int, pool: str = "") -> onnx.ModelProto:
    """Return a network of random weights, with a pooling of a domain that OpenVINO lacks."""
    random = np.random.default_rng(5)
    weights = {
        "kernel": random.normal(scale=0.5, size=(8, channels, 5, 5)),
        "head": random.normal(scale=0.2, size=(8, findings)),
        "bias": random.normal(size=findings),
    }
    pooling = (
        helper.make_node("LogSumExpPool", ["active"], ["pooled"], "pool", domain=pool, r=6.0)
        if pool
        else helper.make_node("GlobalAveragePool", ["active"], ["pooled"], "pool")
    )
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["maps"], "conv", strides=[4, 4]),
        helper.make_node("Relu", ["maps"], ["active"], "relu"),
        pooling,
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "head", "bias"], ["logits"], "linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, findings])],
        [numpy_helper.from_array(one.astype(np.float32), name) for name, one in weights.items()],
    )
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("example", 1)]
    return helper.make_model(graph, ir_version=9, opset_imports=versions)


def _as_nih(work: Path) -> None:
    """Write the labels of the drawings in NIH's form, with a split of every fifth patient."""
    with (work / "drawn" / "labels.csv").open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    patients = sorted({row["patient"] for row in rows})
    parts = ("test", "val", "train", "train", "train")
    turn = {patient: number % len(parts) for number, patient in enumerate(patients)}
    entries, splits = ["Image Index,Finding Labels,Patient ID,View Position"], ["Image Index,split"]
    for row in rows:
        cells = (row["image"], row["findings"], row["patient"], row["view"])
        entries.append(",".join(cells))
        splits.append(
            f"{row['image']},{('test', 'val', 'train', 'train', 'train')[turn[cells[2]]]}"
        )
    (work / "entries.csv").write_text("\n".join(entries) + "\n", "utf-8")
    (work / "split.csv").write_text("\n".join(splits) + "\n", "utf-8")


def _mixed(work: Path) -> None:
    """Gather files that can be read and two that cannot."""
    (work / "mixed").mkdir()
    for name in ("phantom_1_000000.png", "phantom_1_000001.png"):
        shutil.copyfile(work / "drawn" / name, work / "mixed" / name)
    whole = (work / "drawn" / "phantom_1_000002.png").read_bytes()
    (work / "mixed" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (work / "mixed" / "empty.png").write_bytes(b"")


def _tunable(work: Path) -> None:
    shutil.copytree(work / "fp32", work / "tuned")


def _damage(work: Path) -> None:
    """Copy what `verify` knows, and change a byte or a value of each copy."""
    for name, file in (("store", "images.u8"), ("fp32", "model.bin"), ("answers", "inputs.jsonl")):
        shutil.copytree(work / name, work / f"damaged-{name}")
        path = work / f"damaged-{name}" / file
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    document = json.loads((work / "before.json").read_text("utf-8"))
    document["images_per_s"] = 2 * document["images_per_s"]
    (work / "damaged.json").write_text(json.dumps(document, indent=2), "utf-8")


_DATA: Final[tuple[Step, ...]] = (
    Case("--version", as_json=False),
    Case("devices"),
    Case(f"phantom drawn --count 96 --size {SIDE} --seed 1 --workers 1"),
    Case(f"phantom scans --count 3 --size {SIDE} --seed 2 --dicom --workers 1"),
    _as_nih,
    _mixed,
    Case(f"data import phantom drawn --size {SIDE} --out store --workers 1"),
    Case(
        "data import nih drawn --labels entries.csv --split split.csv --size 48 --out nih "
        "--workers 1"
    ),
    Case(
        "data import folder drawn --labels drawn/labels.csv --boxes drawn/boxes.csv --size 48 "
        "--out folder.store --workers 1"
    ),
    Case("data baseline store"),
    Case("data check store"),
    Case("data check nih"),
    Case("data check store", as_json=False),
    Case(f"train recipes/phantom_small.toml --data store --out run {SMALL}"),
    Case(f"train recipes/phantom_small.toml --data store --out run --resume {SMALL}"),
    Case("sharpness run --data store --out sharp.json --quick --images 16"),
)

_MODELS: Final[tuple[Step, ...]] = (
    Case("fpga list"),
    Case("fpga list --bitstreams"),
    Case("fpga list --board pac-a10", as_json=False),
    Case(f"fpga program all {BITSTREAM}"),
    Case("fpga erase FPGA.3"),
    Case("fpga list", as_json=False),
    Case("optimize run --out fp32 --data store"),
    Case("optimize fp32 --out fp16 --precision fp16"),
    Case("optimize run --out int8 --precision int8 --data store --max-auroc-drop 0.9"),
    Case(
        "optimize fp32 --out fp11 --precision fp11 -d HETERO:FPGA,CPU --data store "
        "--max-auroc-drop 0.9"
    ),
    Case(
        "optimize network.onnx --out foreign --labels nih14 --mean 0.485,0.456,0.406 "
        "--std 0.229,0.224,0.225",
        as_json=False,
    ),
    Case(
        "optimize pool.onnx --out pooled --labels Effusion,Mass --mean 0.5 --std 0.25 "
        "--extension log_sum_exp_pool.py:LogSumExpPool"
    ),
    Case(
        "mo --input_model network.onnx --data_type FP16 --mean_values [104,117,123] "
        "--scale 255 --reverse_input_channels --output_dir ir"
    ),
    Case(
        "optimize network.onnx --out chosen --labels nih14 --mean 0.5,0.5,0.5 --std 0.2,0.2,0.2 "
        "--data store --precision auto --max-auroc-drop 0.9"
    ),
    Case("optimize ir/network.xml --out from-ir --labels nih14 --mean 0,0,0 --std 1,1,1"),
    Case("analyze fp32 --no-measure"),
    Case("analyze int8 --no-measure --peak-gops 200 --bandwidth-gb-s 20 --plot roofline.svg"),
    Case("analyze network.onnx --no-measure --all", as_json=False),
    Case("analyze int8 --peak-gops f32=100,int8=200 --bandwidth-gb-s 20"),
    Case("compare fp32 int8 --data store"),
    Case("compare fp32 fp16 --images drawn --count 4 --all", as_json=False),
    Case("partition fp32 -d HETERO:FPGA,CPU --svg partition.svg"),
    Case("partition fp32 -d HETERO:FPGA,CPU --all", as_json=False),
    Case("fpga analyze fp32 --arch 8x48-fp11"),
    Case("fpga analyze fp32 --arch 8x48-fp11 --batch 8", as_json=False),
    Case("fpga search fp32 --family arria10 --out fastest.toml"),
    Case("fpga search fp32 --family agilex7", as_json=False),
    Case("fpga explore fp32 --data store --split train --images 4 --samples 100 --out explored"),
)

_ANSWERS: Final[tuple[Step, ...]] = (
    Case("classify fp32 drawn/phantom_1_000000.png"),
    Case("classify fp32 drawn/phantom_1_000000.png", as_json=False),
    Case("classify int8 drawn/phantom_1_000000.png -pc"),
    Case("classify fp32 drawn/phantom_1_000000.png -pc", as_json=False),
    Case("classify fp32 drawn/phantom_1_000000.png -d HETERO:FPGA,CPU -pc layers"),
    Case("classify fp32 drawn/phantom_1_000000.png -d HETERO:FPGA,CPU -pc lines", as_json=False),
    Case("classify fp32 scans --heatmaps maps --colours viridis --csv findings.csv"),
    Case("classify fp32 store"),
    Case("classify fp16 drawn --async 2"),
    Case("classify fp32 mixed"),
    Case("classify fp32 mixed", as_json=False),
    Case("classify pooled drawn --extension log_sum_exp_pool.py:LogSumExpPool"),
    Case("classify fp32 drawn -d MULTI:FPGA.0,FPGA.1,CPU --async 4"),
    Case("classify fp32 drawn mixed --out answers --shard-size 32 --csv archive.csv"),
    Case("classify fp32 drawn mixed --out answers --shard-size 32"),
    Case("classify int8 drawn --out clustered --shard-size 48 --cluster auto --actors 1"),
    Case("validate fp32 store > validate.json"),
    Case("validate fp32 store --against int8 --samples 200"),
    Case("validate fp32 store --against int8 --no-speed", as_json=False),
    Case("validate fp32 store -d HETERO:FPGA,CPU --split val"),
    Case("classify fp32 drawn --csv predictions.csv", as_json=False),
    Case("score predictions.csv --labels drawn/labels.csv"),
    Case("score predictions.csv --labels entries.csv --split split.csv", as_json=False),
)

_SPEED: Final[tuple[Step, ...]] = (
    Case("power list"),
    Case("power watch modelled:server.toml --interval 0.1 --duration 5 --log server.jsonl"),
    Case("power energy server.jsonl --begin 0.5 --end 1.5"),
    Case("power energy server.jsonl", as_json=False),
    Case("power watch replay:server.jsonl --duration 1"),
    Case("benchmark fp32 --duration 1 > before.json"),
    Case("benchmark fp32 --duration 1 --scenario single-stream --images drawn"),
    Case("benchmark fp32 --duration 1 --scenario multi-stream --samples-per-query 4"),
    Case(
        "benchmark fp32 --duration 1 --scenario server --rate 100 --latency-limit-ms 500 "
        "--loadgen-logs logs"
    ),
    Case(
        "benchmark int8 --duration 1 --power modelled:server.toml --power-interval 0.05 "
        "--idle-s 1 > int8.json"
    ),
    Case("benchmark fp32 --duration 1 --baseline before.json --max-loss 0.9"),
    Case("benchmark fp32 --duration 1 --baseline int8 --rounds 6 --max-loss 0.9"),
    Case("benchmark fp32 --duration 1 -d HETERO:FPGA,CPU > card.json"),
    Case("benchmark fp32 --duration 1 --power replay:server.jsonl --idle-s 0.5", as_json=False),
    _tunable,
    Case("benchmark tuned --duration 1 --tune --latency-limit-ms 500"),
    Case("classify tuned drawn/phantom_1_000000.png"),
    Case(
        "doctor cluster --recipe recipes/phantom_small.toml --data store --duration 1 > ranks.json",
        ranks=2,
    ),
)

_PLANS: Final[tuple[Step, ...]] = (
    Case(
        "plan server --preset r740 --cards 0..2 --images 1000 --runs 2 --figure server.svg "
        "--curve curve.svg > plan.json"
    ),
    Case("plan server --preset r740 --cards 4 --reading offload --images 1000", as_json=False),
    Case("plan server --cards 4 --images 1000 --write-file mine.toml --set cpu.images_per_s=400"),
    Case("plan server --file mine.toml --rate 300 --images 1000 --runs 2 --latency-limit-ms 100"),
    Case("plan server --preset r740-2019 --measured card.json --images 1000 --cards 1"),
    Case(
        "plan server --preset r740-2019 --model fp32 --arch 8x48-fp11 --images 1000 --cards 0,2 "
        "--energy-price 0.3 --hardware-price 9000 --card-price 4000 --years 4 --utilization 0.5"
    ),
    Case("plan cluster --system zenith --workers 1,64,512,1024 --figure cluster.svg"),
    Case("plan cluster --workers 1..64 --batch-per-worker 16 --batch 8192", as_json=False),
    Case(
        "plan cluster --all-reduce halving-doubling --set between.alpha_s=5e-6 "
        "--write-file system.toml"
    ),
    Case("plan cluster --system system.toml --workers 1..64 --node-power 450 --price 1.20"),
    Case(
        "plan cluster --calibrate ranks.json --workers 1..8 --set between.alpha_s=5e-5 "
        "--set between.beta_bytes_per_s=1.2e9"
    ),
    Case(
        "report run validate.json before.json int8.json card.json plan.json sharp.json "
        "--out report.html"
    ),
    Case("report explored --out explored.html --title Explored", as_json=False),
    _damage,
    *(
        Case(f"verify {name}")
        for name in (
            "store", "fp32", "run", "run/epoch-0001", "answers", "state/thorax/fpga.json",
            "server.jsonl", "before.json", "run/train.json", "damaged-store", "damaged-fp32",
            "damaged-answers", "damaged.json",
        )
    ),
    Case("verify store", as_json=False),
)  # fmt: skip

_ERRORS: Final[tuple[Step, ...]] = tuple(
    Case(line)
    for line in (
        "clasify",
        "classify",
        "classify fp32 drawn --heatmap x",
        "phantom x --count many",
        "phantom server.toml/x --count 1 --size 64",
        "data check empty",
        "data import nih drawn --labels missing.csv --out x",
        "train recipes/missing.toml --data store --out x",
        "train recipes/phantom_small.toml --data store --out x --set schedule.peek=1",
        "optimize missing.onnx --out x",
        "optimize network.onnx --out x",
        "optimize run --out x --precision fp64",
        "mo --input_model network.onnx --data_typ FP16",
        "classify missing drawn",
        "classify damaged-fp32 drawn",
        "classify fp32 empty",
        "classify fp32 drawn -d TPU",
        "classify fp32 drawn -pc=all",
        "classify fp32 drawn --actors 2",
        "classify fp32 drawn --out answers --shard-size 16",
        "classify int8 drawn -d HETERO:FPGA,CPU",
        "classify fp32 drawn -d FPGA.3",
        "validate fp32 nih",
        "score nothing.json --labels drawn/labels.csv",
        "benchmark fp32 --scenario fast",
        "benchmark fp32 --rounds 3",
        "benchmark fp32 --baseline damaged.json",
        "benchmark fp32 --power replay:missing.jsonl",
        "power energy nothing.json",
        "fpga program FPGA.0 missing",
        "partition fp32 -d CPU --svg split.jpg",
        "plan server --preset r999",
        "plan cluster --workers many",
        "report nothing.json --out x.html",
        "verify nothing.json",
        "verify missing",
    )
)

STEPS: Final = (*_DATA, *_MODELS, *_ANSWERS, *_SPEED, *_PLANS, *_ERRORS)
DEMO: Final[tuple[Step, ...]] = (Case("demo --out demo --seed 0"),)
