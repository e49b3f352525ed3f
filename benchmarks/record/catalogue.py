"""Every claim that Thorax makes in figures: what it means, who is compared, and what is shown of it.

`docs/generate.py` writes docs/benchmarks.md and the figures of README.md from this list and the
newest result files. A file that holds `comparisons`, as benchmarks/harness/side_by_side.py writes them,
needs no rows here; a claim that has a file and no entry is shown with what its file says.
"""

# ruff: noqa: E501  # titles and paths that are better read on one line

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from thorax.labels import NIH14


class Kind(StrEnum):
    """How a figure came about; tables never mix what was measured with the rest."""

    MEASURED = "measured"
    COMPUTED = "computed"
    MODELLED = "modelled"


class Section(StrEnum):
    """Where a claim stands on the page."""

    SPEED = "Speed of inference"
    COMMANDS = "Commands and archives"
    AUROC = "What precision costs in AUROC"
    TRAINING = "Training"
    READING = "Reading images and models"
    RELIABILITY = "Reliability"
    COMPUTED = "Computed: identities and closed forms"
    MODELLED = "Modelled: cards, servers and clusters that are not here"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a result file in a form of its own; paths as in evidence.py.

    Attributes:
        title: what it is, with its unit.
        value: path, filters and format; or words with several of them, each in braces.
        interval: the same of its lower and upper bound; empty where none was computed.
        over: paths of two lists, a value a turn: the figure is the median of their ratios with the
            interval of the sign test, in place of `value`.
        cpu: as `value`, of processor time.
        goal: as `value`; empty where there was none.
        at_most: whether the goal is the most that it may be.
        sides: of a file in the common form: images a second of one, or the ratio of two, computed
            from their turns and not compared in the file. Such rows stand before all others.
    """

    title: str
    value: str = ""
    interval: tuple[str, str] | None = None
    over: tuple[str, str] | None = None
    cpu: str = ""
    goal: str = ""
    at_most: bool = False
    sides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caveat:
    """What was found out of a file after it was written.

    Attributes:
        commit: that made it.
        words: a regular expression of the titles that it is said of, whatever the case.
        what: is to be known.
    """

    commit: str
    words: str
    what: str


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        name: what the names of its result files begin with, `_` for `-`.
        section: where it stands.
        title: what it is called.
        meaning: what its figures say, in plain words.
        sides: what is compared with what.
        script: how to make it again, without `python -m`.
        rows: of files without `comparisons`.
        kind: of its figures.
        turns: path and format of how many turns were taken; empty where the file does not say.
        warning: what a reader must know of the figures of files from before `MENDED`.
        caveats: of single files.
        made_of: what figures that were not measured rest on: published, calibrated, fitted, known
            beforehand or assumed.
    """

    name: str
    section: Section
    title: str
    meaning: str
    sides: str
    script: str
    rows: tuple[Row, ...] = ()
    kind: Kind = Kind.MEASURED
    turns: str = ""
    warning: str = ""
    caveats: tuple[Caveat, ...] = ()
    made_of: str = ""


def _costs(harder: str = "") -> tuple[Row, ...]:
    """Return the rows of what precisions cost three networks on a task, and its harder finding."""
    return tuple(
        row
        for network, name in (
            ("resnet50", "ResNet-50"),
            ("densenet121", "DenseNet-121"),
            ("vgg16_bn", "VGG-16"),
        )
        for precision in ("bf16", "int8", "fp11")
        for row in _cost(
            f"rows[network={network},precision={precision}]",
            f"{name}, {precision.upper()}",
            harder,
        )
    )


def _cost(entry: str, title: str, harder: str) -> tuple[Row, ...]:
    flips = f"{entry}.flips"
    drops = {"mean AUROC": f"{entry}.drop"}
    if harder:
        drops[f"AUROC of {harder.lower()}"] = f"{entry}.drop_by_finding.{harder}"
    return (
        *(
            Row(
                f"{title}: {what} of FP32 minus its own",
                f"{drop}.value | z.4f",
                (f"{drop}.low | z.4f", f"{drop}.high | z.4f"),
                goal="goal | .3f",
                at_most=True,
            )
            for what, drop in drops.items()
        ),
        Row(
            f"{title}: images of which a finding flips, % at the operating points of FP32; at its own",
            f"{{{flips}.same_points.images | * 100 | .1f}}; {{{flips}.own_points.images | * 100 | .1f}}",
        ),
    )


def _before_and_after(what: str, title: str, goal: str = "") -> Row:
    """Return the row of a ratio of two commits."""
    return Row(
        title,
        f"{what}_wall.median_ratio | .3f",
        (f"{what}_wall.interval[0] | .3f", f"{what}_wall.interval[1] | .3f"),
        cpu=f"{what}_cpu.median_ratio | .3f",
        goal=goal,
        at_most=True,
    )


def _pointing(game: str, reduced: str = "") -> str:
    """Return hits of the maps, of a random and of the best fixed point, %."""
    return "; ".join(
        f"{title}{{{game}.{key}{reduced} | * 100 | .0f}}"
        for key, title in (
            ("rate", ""),
            ("random_rate", "random point "),
            ("fixed_rate", "best fixed point "),
        )
    )


BASELINES: Final = {
    "block_means": "means of 16 x 16 blocks",
    "block_deviations": "means and deviations of 16 x 16 blocks",
    "statistics": "statistics of the whole image",
    "border": "the outer 5 % of the image",
    "order": "order of the files",
    "facts": "view, age and sex, no image",
}
"""Simple features of `thorax data baseline`, by the names of its document."""

_POINTED: Final = (
    ("drawings", "phantoms", "pointing_mean"),
    ("radiographs", "pneumonia of ChestX-ray14", "pointing.Pneumonia"),
)
"""Tasks of `benchmarks.heatmaps`, their titles, and where the hits stand in a row."""

_MAPS: Final = "rows[task=drawings,output_stride=16,maps="
"""Of a file of `benchmarks.heatmaps`, the rows of the finer network by their maps."""

EXPLORED: Final = tuple(
    Row(
        f"{title}, {name}: images/s/W",
        f"documents[{place}].variants[name={name}].modelled.images_per_s_per_w | .1f",
    )
    for place, title in enumerate(("ResNet-50", "DenseNet-121"))
    for name in ("FP16", "FP11", "FP9")
)
"""Rows of `benchmarks.fpga_explore`, whatever the size of the images."""

MENDED: Final = "2026-12-01"
"""Files from before this day are shown with the warnings of their claims."""

TIMED: Final = frozenset(
    {
        "power_sampling_cost",
        "partition_merging",
        "cluster_classify",
        "child_cost",
        "command_cost",
        "phantom_speed",
        "main_job",
        "training_throughput",
        "store_verification",
        "hostile_corpus",
    }
)
"""Claims in forms of their own whose figures are of time: beside an unknown load they tell little."""

CLAIMS: Final[Sequence[Claim]] = (
    Claim(
        "resnet50_peers",
        Section.SPEED,
        "ResNet-50 at 224 x 224 beside its peers",
        "Images a second of Thorax over those of the same network in other engines.",
        "Thorax; ONNX Runtime, PyTorch and OpenVINO's own queue and tool, each as its documentation asks for on the processor at hand, each precision beside the peers that have it",
        "benchmarks.resnet50_peers",
        (
            *(
                Row(f"{name}, images/s", sides=(side,))
                for side, name in (
                    ("thorax_fp32", "Thorax FP32"),
                    ("onnxruntime_fp32", "ONNX Runtime FP32"),
                    ("torch_compiled_fp32", "PyTorch compiled FP32"),
                    ("openvino_queue_fp32", "OpenVINO's queue FP32"),
                    ("thorax_bf16", "Thorax BF16"),
                    ("torch_compiled_bf16", "PyTorch compiled BF16"),
                    ("thorax_int8", "Thorax INT8"),
                    ("onnxruntime_int8", "ONNX Runtime INT8"),
                    ("torch_compiled_int8", "PyTorch compiled INT8"),
                    ("openvino_queue_int8", "OpenVINO's queue INT8"),
                )
            ),
            *(
                Row(f"Thorax INT8 over {name}, of the turns", sides=("thorax_int8", side))
                for side, name in (
                    ("onnxruntime_fp32", "ONNX Runtime FP32"),
                    ("torch_compiled_fp32", "PyTorch compiled FP32"),
                )
            ),
        ),
        caveats=(
            *(
                Caveat(
                    commit,
                    "compiled",
                    "PyTorch compiled was tried as one instance on all threads alone; the others as one a thread, too",
                )
                for commit in ("e68c9b530ac2", "6a50a059cf43")
            ),
            Caveat(
                "e68c9b530ac2",
                "benchmark_app",
                "benchmark_app had the batch of Thorax; the others were probed for their own",
            ),
        ),
    ),
    Claim(
        "hardware_peak",
        Section.SPEED,
        "What the processor can do at most",
        "Operations a second of register-resident loops, beside OpenVINO's fastest matrix product.",
        "a loop in C of one instruction; the best product that OpenVINO was seen to run; ResNet-50, one "
        "image a call",
        "benchmarks.hardware_peak",
    ),
    Claim(
        "scenarios_against_async_queue",
        Section.SPEED,
        "LoadGen over Thorax and over OpenVINO's own queue",
        "What LoadGen measures when Thorax answers it, over what it measures when a bare "
        "`ov.AsyncInferQueue` does; of latency less is better.",
        "the same model, requests, queries and limit of latency",
        "benchmarks.scenarios_against_async_queue",
        tuple(
            row
            for model in ("int8", "fp32")
            for row in (
                Row(
                    f"offline, {model}",
                    over=(
                        f"models[precision={model}].thorax.offline",
                        f"models[precision={model}].async_queue.offline",
                    ),
                ),
                Row(
                    f"server, {model}: answered a second",
                    over=(
                        f"models[precision={model}].thorax.completed",
                        f"models[precision={model}].async_queue.completed",
                    ),
                ),
                Row(
                    f"server, {model}: p99 of latency",
                    over=(
                        f"models[precision={model}].thorax.p99",
                        f"models[precision={model}].async_queue.p99",
                    ),
                    at_most=True,
                ),
            )
        ),
        turns="rounds | d",
        warning="images of 64 x 64; the queue was handed a fresh array a request; turns were short, in "
        "part below the queries that LoadGen needs for a verdict",
    ),
    Claim(
        "offline_against_benchmark_app",
        Section.SPEED,
        "`thorax benchmark` offline and OpenVINO's benchmark_app",
        "Images a second, Thorax over benchmark_app.",
        "the same model and number of requests",
        "benchmarks.offline_against_benchmark_app",
        tuple(
            Row(
                f"ResNet-50 {model}, 224 x 224",
                f"models[precision={model}].ratio | .2f",
                goal=f"models[precision={model}].goal | .2f",
            )
            for model in ("int8", "fp32")
        ),
        turns="turns | d",
    ),
    Claim(
        "classify_end_to_end",
        Section.SPEED,
        "`thorax classify` from files to findings",
        "Images a second of the whole over 1 / (1/decode + 1/infer) of its parts, measured apart.",
        "classify on 1024 x 1024 PNGs; the decoder alone and the engine alone",
        "benchmarks.classify_end_to_end",
        (
            Row(
                "over its parts",
                over=("turns[*].classify_images_per_s", "turns[*].parts_images_per_s"),
                goal="goal | .2f",
            ),
            Row(
                "ratio of the medians",
                "{median.classify_images_per_s | .1f} / {median.parts_images_per_s | .1f} images/s",
            ),
        ),
        turns="turns | count | d",
        warning="the order of the turns was fixed; decoding and computing share the processors, so "
        "that nothing above 1 is to be had but by chance",
    ),
    Claim(
        "classify_startup",
        Section.SPEED,
        "`thorax classify` on one image, start to exit",
        "Time of the whole process over that of a bare OpenVINO script; below 1 is better.",
        "`thorax classify` on one PNG; a few lines of OpenVINO that read the model, infer a black array "
        "and print: no image is read there, so the peer has less to do",
        "benchmarks.classify_startup",
        (
            Row(
                "classify over the script, time",
                over=("wall_s.classify", "wall_s.bare"),
                cpu="median_ratio_of_cpu.classify | .2f",
                goal="goal | .1f",
                at_most=True,
            ),
            Row(
                "`--help` over the script, time",
                over=("wall_s.help", "wall_s.bare"),
                cpu="median_ratio_of_cpu.help | .2f",
                at_most=True,
            ),
            Row("the help of `thorax`, s", "help_s | .2f", goal="help_goal_s | .1f", at_most=True),
        ),
        turns="wall_s.bare | count | d",
    ),
    Claim(
        "power_sampling_cost",
        Section.SPEED,
        "What reading a meter costs",
        "Images a second with a meter read over those without, and the meter's share of processors.",
        "the same load with and without the reader; RAPL is files of the same form as Linux has, "
        "Redfish an emulator on this machine",
        "benchmarks.power_sampling_cost",
        tuple(
            row
            for place, (key, way) in enumerate(
                (
                    ("rapl_100_ms", "RAPL every 100 ms"),
                    ("rapl_10_ms", "RAPL every 10 ms"),
                    ("redfish_1_s", "Redfish every second"),
                )
            )
            for row in (
                Row(
                    f"{way}: images/s",
                    over=(f"ways[{place}].images_per_s", "alone_images_per_s"),
                    goal="goal | .2f",
                ),
                Row(
                    f"{way}: share of all processors, %",
                    f"meters.{key}.share_of_processors else ways[{place}].share_of_processors | * 100 | .2f",
                ),
            )
        ),
        turns="turns | d",
    ),
    Claim(
        "fpga_emulation_cost",
        Section.SPEED,
        "What emulating a card costs",
        "Time of an inference with the card's arithmetic over the same graph in FP32 on the CPU.",
        "ResNet-50 at 224 x 224, emulated; FP32",
        "benchmarks.fpga_emulation_cost",
        (Row("latency", over=("turns_s.fp11", "turns_s.fp32"), goal="goal | .2f", at_most=True),),
        turns="turns_s.fp11 | count | d",
        warning="of the emulated graph alone, one image at a time, not of `-d HETERO:FPGA,CPU`",
    ),
    Claim(
        "partition_merging",
        Section.SPEED,
        "Partitions with islands merged",
        "Time of `thorax partition` over that with `--no-merge`, for the same split.",
        "the same network with and without merging",
        "benchmarks.partition_merging",
        tuple(
            Row(
                name,
                over=(f"networks.{name}.merge_s", f"networks.{name}.no_merge_s"),
                goal="goal | .1f",
                at_most=True,
            )
            for name in ("MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "DenseNet121")
        ),
        turns="networks.DenseNet121.merge_s | count | d",
    ),
    Claim(
        "cluster_classify",
        Section.COMMANDS,
        "An archive on Ray actors",
        "Images a second of actors of one thread, a processor each, over one process on all of them.",
        "`classify --out --cluster auto`; the same without `--cluster`",
        "benchmarks.cluster_classify",
        (
            Row(
                "the whole run, start of the actors included",
                over=("turns[*].actors.images_per_s", "turns[*].one_process.images_per_s"),
            ),
            Row(
                "between the first answer and the last",
                over=(
                    "turns[*].actors.steady_images_per_s",
                    "turns[*].one_process.steady_images_per_s",
                ),
            ),
            Row("rows the same to the byte, one actor killed", "killed.rows_identical | d"),
        ),
        turns="turns | count | d",
        warning="two turns in a fixed order: no interval",
    ),
    Claim(
        "classify_memory",
        Section.COMMANDS,
        "Memory of `classify` and of an import",
        "Most memory that the process held; it must not grow with the number of files.",
        "`classify` of 200 to 2,000 PNGs of 1024 x 1024; an import of 3,000",
        "benchmarks.classify_memory",
        (
            *(
                Row(
                    f"classify, {count:,} files, MB",
                    f"peak_bytes.csv[images={count}].process | / 1e6 | .0f",
                    goal="goal_bytes | / 1e6 | .0f",
                    at_most=True,
                )
                for count in (200, 1000, 2000)
            ),
            Row(
                "import, MB",
                "import_peak_bytes.process | / 1e6 | .0f",
                goal="import_goal_bytes | / 1e6 | .0f",
                at_most=True,
            ),
        ),
    ),
    Claim(
        "child_cost",
        Section.COMMANDS,
        "What reading models in a confined child costs",
        "Time of the command over that of the commit before; below 1 is faster.",
        "two commits, whole processes",
        "benchmarks.child_cost",
        (
            _before_and_after("optimize", "`optimize` of an ONNX ResNet-50, time", "goal | .2f"),
            _before_and_after("classify", "`classify` of one PNG, time"),
        ),
        turns="optimize_wall.before_s | count | d",
    ),
    Claim(
        "command_cost",
        Section.COMMANDS,
        "What a rearrangement of the code cost",
        "Time of the command over that of the commit before; below 1 is faster.",
        "two commits, whole processes",
        "benchmarks.command_cost",
        (
            _before_and_after("import", "`import thorax`, time"),
            _before_and_after("help", "`--help`, time"),
            _before_and_after(
                "classify", "`classify` of one PNG, time", "goals.classify_ratio | .2f"
            ),
            _before_and_after(
                "classify_folder", "`classify` of a folder, time", "goals.classify_ratio | .2f"
            ),
            _before_and_after(
                "classify_dicoms", "`classify` of DICOM files, time", "goals.classify_ratio | .2f"
            ),
        ),
        turns="help_wall.before_s | count | d",
    ),
    Claim(
        "command_contract",
        Section.COMMANDS,
        "What a rearrangement of the code changed in answers",
        "Command lines whose answers were compared, byte by byte, with those of the commit before.",
        "two commits",
        "benchmarks.command_contract",
        (
            Row("command lines", "totals.command_lines | d"),
            Row("the same bytes", "totals.bytes_equal | d"),
            Row(
                "other than by times and paths, each with its difference in the file",
                "totals.different | d",
            ),
        ),
    ),
    Claim(
        "phantom_speed",
        Section.COMMANDS,
        "Drawing phantoms",
        "Phantoms of 256 x 256 drawn a second on one core.",
        "one process",
        "benchmarks.phantom_speed",
        (
            Row(
                "drawn a second",
                "median_images_per_s | .0f",
                (
                    "median_images_per_s_interval[0] | .0f",
                    "median_images_per_s_interval[1] | .0f",
                ),
                goal="goal_images_per_s | .0f",
            ),
        ),
        turns="images_per_s | count | d",
    ),
    *(
        Claim(
            f"precision_cost_{task}",
            Section.AUROC,
            f"What lower precisions cost, {title}",
            "Mean AUROC of FP32 minus that of the precision on the test split, patients unseen in training, paired "
            "bootstrap over patients, a negative drop a gain; and images of which a finding is called "
            "otherwise at an operating point. Networks trained from scratch on 64 x 64 images, FP11 in "
            "the arithmetic of the simulated card.",
            "the same network in both precisions",
            "benchmarks.precision_cost",
            _costs(harder),
        )
        for task, title, harder in (
            ("phantoms", "phantoms", ""),
            ("kermany", "radiographs of children", "Bacterial"),
        )
    ),
    Claim(
        "precisions",
        Section.SPEED,
        "Precisions of three networks",
        "Images a second at 224 x 224 over those in FP32.",
        "the same network in both precisions",
        "benchmarks.precisions",
    ),
    Claim(
        "shallow_baselines",
        Section.AUROC,
        "What needs no network",
        "Mean AUROC of logistic regressions on simple features, `thorax data baseline`, on the test "
        "split of the demo's drawings, of radiographs of children, and of those of ChestX-ray14 at hand.",
        "features; findings",
        "benchmarks.shallow_baselines",
        tuple(
            Row(
                f"{title}: {name}",
                f"tasks.{task}.models[name={model}].mean_auroc.value | .3f",
                (
                    f"tasks.{task}.models[name={model}].mean_auroc.low | .3f",
                    f"tasks.{task}.models[name={model}].mean_auroc.high | .3f",
                ),
            )
            for task, title in (
                ("drawings", "phantoms"),
                ("children", "children"),
                ("radiographs", "ChestX-ray14"),
            )
            for model, name in BASELINES.items()
        ),
    ),
    Claim(
        "phantom_network",
        Section.AUROC,
        "What a network learns of phantoms and blocks do not tell",
        "Mean AUROC of 14 findings on the test split of phantoms of 128 x 128, patients unseen.",
        "ResNet-18 of full width, from scratch; logistic regressions on simple features",
        "benchmarks.phantom_network",
        (
            Row(
                "ResNet-18",
                "mean_auroc.value | .3f",
                ("mean_auroc.low | .3f", "mean_auroc.high | .3f"),
                goal="goals.mean_auroc | .2f",
            ),
            *(
                Row(
                    BASELINES[name],
                    f"models[name={name}].mean_auroc.value | .3f",
                    (
                        f"models[name={name}].mean_auroc.low | .3f",
                        f"models[name={name}].mean_auroc.high | .3f",
                    ),
                    goal=f"goals.{name} | .2f"
                    if name in ("block_deviations", "statistics")
                    else "",
                    at_most=True,
                )
                for name in BASELINES
            ),
        ),
    ),
    Claim(
        "phantom_subtlety",
        Section.AUROC,
        "Phantoms by subtlety",
        "Mean AUROC of 14 findings on phantoms of one subtlety, by the demo's network; none of them is in its training or its test split.",
        "0 is plain, 1 the faintest",
        "benchmarks.phantom_subtlety",
        tuple(
            Row(
                f"subtlety {place / 10:.1f}",
                f"levels[{place}].mean_auroc | .3f",
                (f"levels[{place}].low | .3f", f"levels[{place}].high | .3f"),
            )
            for place in (0, 3, 5, 7, 10)
        ),
    ),
    Claim(
        "heatmaps",
        Section.AUROC,
        "Where heat maps point",
        "Share of heat maps whose peak lies in a lesion box: mean over 14 findings of the "
        "demo's drawings, and the boxes of pneumonia of ChestX-ray14, a network trained on each.",
        "kinds of maps; a random and the best fixed point",
        "benchmarks.heatmaps",
        (
            *(
                Row(f"{title}: {name}", f"rows[*task={task}].{key} | max | .3f")
                for task, title, where in _POINTED
                for name, key in (
                    ("a random point", f"{where}.random_rate"),
                    ("the best fixed point", f"{where}.fixed_rate"),
                )
                if (task, name) != ("radiographs", "the best fixed point")
            ),
            *(
                Row(
                    f"phantoms, findings of 14 on which the best fixed point hits more often than {maps}, output stride 16",
                    f"{_MAPS}{maps}].pointing[*].fixed_rate | above {_MAPS}{maps}].pointing[*].rate | d",
                )
                for maps in ("cam", "relative")
            ),
            *(
                Row(
                    f"{title}: {maps}, output stride {stride}",
                    f"rows[task={task},output_stride={stride},maps={maps}].{where}.rate | .3f",
                )
                for task, title, where in _POINTED
                for stride in (16, 32)
                for maps in ("cam", "fine", "relative")
            ),
        ),
    ),
    Claim(
        "main_job",
        Section.AUROC,
        "The demo, `make demo`",
        "Mean AUROC of 14 findings on the test split of phantoms, which training never saw, and how long all of it takes.",
        "ResNet-18 of a quarter of the width, test split",
        "benchmarks.main_job",
        (
            Row("the whole demo, s", "elapsed_s | .0f", goal="goals.elapsed_s | .0f", at_most=True),
            Row(
                "mean AUROC, FP32",
                "mean_auroc.fp32.value | .3f",
                ("mean_auroc.fp32.low | .3f", "mean_auroc.fp32.high | .3f"),
                goal="goals.mean_auroc | .2f",
            ),
            Row(
                "mean AUROC, INT8",
                "mean_auroc.int8.value | .3f",
                ("mean_auroc.int8.low | .3f", "mean_auroc.int8.high | .3f"),
            ),
            Row(
                "mean AUROC of FP32 minus that of INT8, test split",
                "int8_drop | z.4f",
                goal="goals.int8_drop | .3f",
                at_most=True,
            ),
            *(
                Row(f"heat-map peak inside a box, {name}, %", _pointing(f"pointing.{name}"))
                for name in NIH14.findings
            ),
            Row("the same, mean of all findings, %", _pointing("pointing[*]", " | mean")),
        ),
        warning="phantoms of a kind whose labels 16 x 16 block means give away: an AUROC here "
        "says that the way works, and nothing of how hard the task is",
    ),
    Claim(
        "nih_main_job",
        Section.AUROC,
        "The demo's way on radiographs of ChestX-ray14",
        "Mean AUROC of 14 findings on the test split, few images, from scratch.",
        "ResNet-18, official split",
        "benchmarks.nih_main_job",
        (
            Row("images imported", "import.images | ,d"),
            Row("skipped", "import.skipped | d"),
            Row(
                "mean AUROC, FP32",
                "mean_auroc.fp32.value | .2f",
                ("mean_auroc.fp32.low | .2f", "mean_auroc.fp32.high | .2f"),
            ),
        ),
    ),
    Claim(
        "nih_official_recipe",
        Section.AUROC,
        "The official recipe on few radiographs",
        "Mean AUROC of 14 findings on the test split, DenseNet-121 from scratch, 64 x 64.",
        "DenseNet-121, official split",
        "benchmarks.nih_official_recipe",
        (
            Row("mean AUROC", "mean_auroc_interval.value | .3f"),
            Row("images of the test split", "split.test | ,d"),
        ),
    ),
    Claim(
        "training_throughput",
        Section.TRAINING,
        "The training loop beside bare loops",
        "Images a second of `thorax train` over another loop.",
        "a loop on tensors in memory; a loop that decodes PNGs; one rank of two threads",
        "benchmarks.training_throughput",
        tuple(
            Row(
                title,
                over=(f"{key}.images_per_s", f"{key}.against_images_per_s"),
                goal=f"{key}.goal | .2f",
            )
            for key, title in (
                ("bare_loop", "over a bare loop on tensors in memory"),
                ("decoding_loop", "over a loop that decodes 1024 x 1024 PNGs each step"),
                ("two_ranks", "two ranks of one thread over one rank of two"),
            )
        ),
        turns="bare_loop.images_per_s | count | d",
    ),
    Claim(
        "ranks_agree",
        Section.TRAINING,
        "Ranks against one process",
        "Largest difference of a weight, relative to the largest of its tensor: the rounding of sums.",
        "two and three ranks; one process",
        "benchmarks.ranks_agree",
        (
            Row("after one update of a ResNet-18", "worst.one_update | .1e"),
            Row("after four updates of a small network", "worst.four_updates | .1e"),
        ),
    ),
    *(
        Claim(
            f"large_batch_{study}",
            Section.TRAINING,
            f"What a large batch costs, {task}",
            "AUROC on the test split minus that of SGD at a batch of 32, equal epochs, paired by seed "
            "and patient, with an interval over patients and the three seeds; every tuned way has tried "
            "rates by the same rule.",
            "SGD at 32 images; the same and other recipes at larger batches",
            "benchmarks.large_batch",
            tuple(
                Row(
                    f"{title}, {batch:,}{of}",
                    f"summary[arm={arm},batch={batch}].{key}difference | +.3f",
                    (
                        f"summary[arm={arm},batch={batch}].{key}interval[0] | +.3f",
                        f"summary[arm={arm},batch={batch}].{key}interval[1] | +.3f",
                    ),
                    goal="goal | .3f",
                )
                for arm, batch, title in (
                    ("sgd", middle, "SGD, nothing changed"),
                    ("sgd-linear", middle, "linear scaling"),
                    ("lars", middle, "LARS"),
                    ("sgd", large, "SGD, nothing changed"),
                    ("sgd-linear", large, "linear scaling"),
                    ("sgd-tuned", large, "SGD tuned there"),
                    ("lars", large, "LARS tuned there"),
                    ("adam-tuned", large, "Adam tuned there"),
                )
                for key, of in (("", ": mean"), ("harder_", ": bacterial or viral"))
            ),
            turns="seeds | count | d",
        )
        for study, task, middle, large in (
            ("phantoms", "phantoms", 512, 2048),
            ("kermany", "radiographs of children", 256, 1024),
        )
    ),
    Claim(
        "store_verification",
        Section.TRAINING,
        "Checking every image that is read",
        "Images a second with each image checked, over those by a memory map and by the same read (`pread`) without a check: read alone, through the loader, in training. The share of an epoch is processor time of a check over that of training an image.",
        "the same store read with and without checks",
        "benchmarks.store_verification",
        (
            Row(
                "share of an epoch, %",
                "share_of_training | * 100 | .2f",
                goal="goal_share_of_training | * 100 | .0f",
                at_most=True,
            ),
        ),
        turns='training_cpu_s."memory map" | count | d',
    ),
    Claim(
        "dicom_readers",
        Section.READING,
        "DICOM test files beside dcmtk, GDCM and pydicom",
        "Single-frame images of the test files of pydicom, fo-dicom and cornerstone.",
        "Thorax; dcmtk and pydicom",
        "benchmarks.dicom_readers",
        (
            Row("images", "files[*][*] | count | d"),
            Row("agree within 2/255 with one of them", "counts[*].agrees | sum | d"),
            Row("refused by a code", "counts[*].refused | sum | d"),
        ),
    ),
    Claim(
        "reported_files",
        Section.READING,
        "Doubtful files after public reports",
        "Images made after public reports of files that readers show wrongly.",
        "Thorax; the picture that the report asks for",
        "benchmarks.reported_files",
        (
            Row("cases", "cases[*] | count | d"),
            Row("read as they should be", "cases[*result=right] | count | d"),
        ),
    ),
    Claim(
        "hostile_corpus",
        Section.READING,
        "Hostile files",
        "Files made to break DICOM readers. Answered is not decoded: most are refused by their "
        "modality before a pixel is read, and so each is read once more as a radiograph.",
        "one folder, one process and its decoding child",
        "benchmarks.hostile_corpus",
        (
            Row("files", "files | d"),
            Row("refused by modality", 'answers."dicom-modality" | d'),
            Row("refused as truncated", 'answers."dicom-truncated" | d'),
            Row("refused as no image", 'answers."dicom-not-an-image" | d'),
            Row("refused as damaged", 'answers."dicom-corrupt" | d'),
            Row("refused by format", 'answers."image-format" | d'),
            Row(
                "the same files with the header of a radiograph: decoded",
                "as_radiography.answers.read | d",
            ),
            *(
                Row(f"so, refused {title}", f'as_radiography.answers."{code}" | d')
                for code, title in (
                    ("dicom-truncated", "as truncated"),
                    ("dicom-corrupt", "as damaged"),
                    ("dicom-pixel-format", "for their pixels' format"),
                    ("image-format", "by format"),
                    ("dicom-modality", "by modality"),
                    ("dicom-not-an-image", "as no image"),
                    ("dicom-frames", "for their frames"),
                    ("dicom-transfer-syntax", "for their compression"),
                )
            ),
            Row("slowest, s", "slowest_s[*] | max | .2f", goal="goal_s | .0f", at_most=True),
            Row(
                "peak memory with the child, MB",
                "peak_bytes.together | / 1e6 | .0f",
                goal="goal_bytes | / 1e6 | ,.0f",
                at_most=True,
            ),
        ),
    ),
    Claim(
        "public_networks",
        Section.READING,
        "Public networks, Caffe and MXNet",
        "Largest difference of an output, relative to its largest value, random weights.",
        "Thorax's importers; OpenCV's dnn and MXNet",
        "by hand, see [the page](public-networks.md)",
        (
            *(
                row
                for key, title in (("caffe", "Caffe descriptions"), ("mxnet", "MXNet symbols"))
                for row in (
                    Row(title, f"{key}[*] | count | d"),
                    Row(
                        f"{title}: largest difference of all",
                        f"{key}[*].largest_difference | over {key}[*].largest_value | max | .1e",
                    ),
                )
            ),
        ),
    ),
    Claim(
        "reliability_kills",
        Section.RELIABILITY,
        "Work that is killed",
        "Runs ended at random moments and begun anew, and what came of them.",
        "the undisturbed run",
        "benchmarks.reliability_kills",
        (
            Row("ended, each begun anew", "kills | d"),
            Row(
                "came to their end at last, after none, one or several of these",
                "kinds[*].finished | sum | d",
            ),
            Row("lost", "lost | d"),
            Row("other than undisturbed", "kinds[*].different | sum | d"),
        ),
    ),
    Claim(
        "reliability_bits",
        Section.RELIABILITY,
        "Changed bits",
        "One bit of one file at a time.",
        "what was written",
        "benchmarks.reliability_bits",
        (
            Row("bits changed", "flips | ,d"),
            Row("found", "kinds[*].found | sum | ,d"),
            Row("harmless", "kinds[*].harmless | sum | ,d"),
            Row("used", "used_silently | d"),
        ),
    ),
    Claim(
        "reliability_models",
        Section.RELIABILITY,
        "Damaged model files",
        "Copies of model files with random damage, read in the confined child.",
        "13 formats",
        "benchmarks.reliability_models",
        (
            Row("copies", "formats[*].tried | sum | ,d"),
            Row("refused", "formats[*].refused | sum | ,d"),
            Row("read, and a valid graph", "formats[*].read | sum | ,d"),
        ),
    ),
    Claim(
        "fpga_bit_exact",
        Section.COMPUTED,
        "Arithmetic of the card, graph against specification",
        "Values that differ between the graph on the CPU, the NumPy reference and a model in "
        "integers. To the specification, not to a card: there was none.",
        "three implementations",
        "benchmarks.fpga_bit_exact",
        (
            Row("values compared", "rows[*].values | sum | ,d"),
            Row("differ, graph", "rows[*].graph_differs | sum | d"),
            Row("differ, integers", "rows[*].integers_differ | sum | d"),
        ),
        kind=Kind.COMPUTED,
        made_of="the specification of the format",
    ),
    Claim(
        "plan_closed_forms",
        Section.COMPUTED,
        "The simulator of servers against closed forms",
        "Relative error of the mean wait, and of saturated rates.",
        "simulation; Pollaczek and Khinchine, Erlang C, the slowest stage",
        "benchmarks.plan_closed_forms",
        (
            Row(
                "queues, worst, %",
                "worst.queues | * 100 | .2f",
                goal="goal | * 100 | .0f",
                at_most=True,
            ),
            Row(
                "saturated servers, worst, %",
                "worst.saturated | * 100 | .2f",
                goal="goal | * 100 | .0f",
                at_most=True,
            ),
        ),
        kind=Kind.COMPUTED,
        made_of="definitions",
    ),
    Claim(
        "figures_2018",
        Section.COMPUTED,
        "Claims of 2018 and 2019 from their own constants",
        "How many claims follow from the constants of the same texts, by verdict "
        "([each of them](figures-2018.md)).",
        "the planner; what was published",
        "benchmarks.figures_2018",
        tuple(
            Row(verdict, f"claims[*verdict={verdict}] | count | d")
            for verdict in (
                "constant",
                "solved for",
                "reproduced",
                "not reproduced",
                "not modelled",
            )
        ),
        kind=Kind.COMPUTED,
        made_of="constants that are published, derived from a claim, or assumed",
    ),
    Claim(
        "fpga_published",
        Section.MODELLED,
        "The cycle model against published figures that were known",
        "Figures within 15 % of those that were published. What had a part in a size, rule or clock "
        "of the model, or follows from such, is no test of it and counts apart; none is a prediction "
        "([each of them](fpga.md#against-published-figures)).",
        "the cycle model; data sheets, manuals and papers",
        "benchmarks.fpga_published",
        (
            Row("calibrated", "calibrated | d"),
            Row(
                "known beforehand, nothing came of them in the model: within the goal",
                "{nothing_came.within_goal | d} of {nothing_came.rows | d}",
            ),
            Row(
                "known beforehand, had a part in the model: within the goal",
                "{had_part.within_goal | d} of {had_part.rows | d}",
            ),
        ),
        kind=Kind.MODELLED,
        made_of="two clocks calibrated on one figure each, areas fitted, the rest assumed or known beforehand, as each row says",
    ),
    Claim(
        "fpga_predictions",
        Section.MODELLED,
        "The cycle model against a figure that was found afterwards",
        "Computed after the figure was found, by a model that was frozen before. Of what was written "
        "down before none could be compared, so that nothing here is a prediction "
        "([why](fpga.md#found-after-the-model-was-frozen)). Within 15 % counts.",
        "the cycle model; published figures",
        "benchmarks.fpga_predictions",
        (
            Row("written down before figures were looked up", "predictions[*] | count | d"),
            Row("of these compared", "compared[*written_down=True] | count | d"),
            Row("figures found, and computed then", "compared[*] | count | d"),
            Row("of these within the goal", "within_goal | d"),
            Row("largest error, either way, %", "largest_error | * 100 | .0f"),
        ),
        kind=Kind.MODELLED,
        made_of="the same constants, frozen before the figures were looked up",
    ),
    Claim(
        "fpga_explore_224px",
        Section.MODELLED,
        "Falling precision, images of 224 x 224",
        "Images/s/W of the fastest overlay of a precision, modelled "
        "([with the AUROC](fpga.md#falling-precision)).",
        "precisions of one network on one board",
        "benchmarks.fpga_explore",
        EXPLORED,
        kind=Kind.MODELLED,
        made_of="an assumed clock, areas fitted, power calibrated on two figures of one board",
    ),
    Claim(
        "fpga_explore_64px",
        Section.MODELLED,
        "Falling precision, images of 64 x 64",
        "As above, at the size that the networks were trained on.",
        "precisions of one network on one board",
        "benchmarks.fpga_explore",
        EXPLORED,
        kind=Kind.MODELLED,
        made_of="an assumed clock, areas fitted, power calibrated on two figures of one board",
    ),
    Claim(
        "cluster_predictions",
        Section.MODELLED,
        "Models of clusters against published times",
        "Rows within 10 % of what was published, one or two numbers of each system fitted and all "
        "rows known when the models were made ([each of them](planning.md#how-far-to-trust-the-model-of-a-cluster)).",
        "the models that plans use; published times; adding ranks up linearly",
        "benchmarks.cluster_predictions",
        (
            Row(
                "every system left out in turn with all of its machine: rows within the goal",
                "{left_out_in_all.within_goal | d} of {left_out_in_all.rows | d}",
            ),
            *(
                row
                for system, model in (
                    ("c4140-v100", "rate and stragglers"),
                    ("intel-caffe", "rate alone"),
                    ("zenith", "rate and cost of an update"),
                    ("zenith-intel-caffe", "cost of an update"),
                )
                for entry in (f"summary[system={system},model={model}]",)
                for row in (
                    Row(
                        f"{system}, the model that plans use: rows within the goal",
                        f"{{{entry}.within_goal | d}} of {{{entry}.tested | d}}",
                    ),
                    Row(
                        f"{system}: rows within it by adding up", f"{entry}.linear_within_goal | d"
                    ),
                    Row(f"{system}: largest error, %", f"{entry}.worst | * 100 | .0f"),
                )
            ),
        ),
        kind=Kind.MODELLED,
        made_of="one or two numbers fitted a system, links published or assumed, choices made with the rows known",
    ),
)


def claim_of(name: str) -> Claim:
    """Return the claim of a name."""
    return next(claim for claim in CLAIMS if claim.name == name)
