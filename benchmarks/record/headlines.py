"""The few figures that README.md shows, each out of the newest result file of its claim."""

# ruff: noqa: E501  # titles and paths that are better read on one line

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.record.catalogue import Kind


@dataclass(frozen=True, slots=True)
class Headline:
    """One line of the figures of README.md.

    Attributes:
        claim: whose newest file says on what machine.
        title: what was measured.
        texts: what to say; figures stand in braces as evidence.py and sentences.py name them. The
            first text that the result files can fill is taken, and none where they cannot.
        kind: of the figures.
        by_machine: whether it has a cell a machine, as all that is of speed.
    """

    claim: str
    title: str
    texts: tuple[str, ...]
    kind: Kind = Kind.MEASURED
    by_machine: bool = False


def _interval(claim: str, entry: str, form: str) -> str:
    """Return a figure with its interval in braces."""
    return (
        f"{{{claim}: {entry}.value | {form}}} "
        f"[{{{claim}: {entry}.low | {form}}}, {{{claim}: {entry}.high | {form}}}]"
    )


def _drops(precision: str, task: str, drop: str) -> str:
    """Return the drops of three networks on one task."""
    return ", ".join(
        _interval(
            f"precision_cost_{task}",
            f"rows[network={network},precision={precision}].{drop}",
            "z.4f",
        )
        for network in ("resnet50", "densenet121", "vgg16_bn")
    )


def _cost(precision: str, task: str, drop: str, title: str) -> Headline:
    share, own = (
        f"flips.{points}.images | max | * 100 | .1f" for points in ("same_points", "own_points")
    )
    return Headline(
        f"precision_cost_{task}",
        title,
        (
            f"{_drops(precision, task, drop)}; a finding is called otherwise in up to "
            f"{{precision_cost_{task}: rows[*precision={precision}].{share}}} % of the images at the "
            f"thresholds of FP32, {{precision_cost_{task}: rows[*precision={precision}].{own}}} % at those "
            "that `optimize` chooses anew",
        ),
    )


def _lost(study: str, key: str, batch: int, *arms: tuple[str, str]) -> str:
    """Return what ways to train leave of the loss of a batch, with intervals."""
    claim = f"large_batch_{study}"

    def one(arm: str) -> str:
        row = f"summary[arm={arm},batch={batch}].{key}"
        ends = ", ".join(f"{{{claim}: {row}interval[{end}] | +.3f}}" for end in (0, 1))
        return f"{{{claim}: {row}difference | +.3f}} [{ends}]"

    goal = f"{{{claim}: goal | .3f}}"
    return "; ".join(f"{title} {one(arm)}" for title, arm in arms) + f" (goal {goal})"


_LARGE: Final = (("linear scaling", "sgd-linear"), ("LARS", "lars"))
_MIDDLE: Final = (
    _LARGE[0],
    ("LARS at the rate tuned for the largest batch, scaled by the root", "lars"),
)


_MODEL: Final = "cluster_predictions: summary[system=zenith,model=rate and cost of an update]"
_ZENITH: Final = (
    f"{{{_MODEL}.within_goal | d}} of {{{_MODEL}.tested | d}} on the cluster Zenith, to which "
    f"{{{_MODEL}.free_numbers | d}} numbers were fitted and {{{_MODEL}.choices | d}} choices made with "
    f"its times known, where adding ranks up gives {{{_MODEL}.linear_within_goal | d}}"
)


def _speed(title: str, text: str, claim: str = "resnet50_peers") -> Headline:
    return Headline(claim, title, (text,), by_machine=True)


_FP32_ELSEWHERE: Final = "onnxruntime_fp32 torch_compiled_fp32 torch_channels_last_fp32 torch_fp32"

HEADLINES: Final[Sequence[Headline]] = (
    *(
        _speed(title, f"{{{text}}}")
        for title, text in (
            (
                "ResNet-50, 224 x 224, INT8, images/s: Thorax, ONNX Runtime, PyTorch compiled",
                "rates resnet50_peers thorax_int8 onnxruntime_int8 torch_compiled_int8",
            ),
            (
                "ResNet-50, 224 x 224, FP32, images/s: Thorax, ONNX Runtime, PyTorch compiled",
                "rates resnet50_peers thorax_fp32 onnxruntime_fp32 torch_compiled_fp32",
            ),
            (
                "INT8 over ONNX Runtime INT8",
                "ratio resnet50_peers Thorax INT8 over ONNX Runtime INT8",
            ),
            (
                "INT8 over PyTorch compiled INT8",
                "ratio resnet50_peers Thorax INT8 over PyTorch compiled INT8",
            ),
            (
                "INT8 over OpenVINO's own queue",
                "ratio resnet50_peers Thorax INT8 over OpenVINO's queue INT8",
            ),
            (
                "BF16 over PyTorch compiled BF16",
                "ratio resnet50_peers Thorax BF16 over PyTorch compiled BF16",
            ),
            (
                "FP32 over ONNX Runtime FP32",
                "ratio resnet50_peers Thorax FP32 over ONNX Runtime FP32",
            ),
            (
                "FP32 over PyTorch compiled FP32",
                "ratio resnet50_peers Thorax FP32 over PyTorch compiled FP32",
            ),
            (
                "FP32 over OpenVINO's own queue",
                "ratio resnet50_peers Thorax FP32 over OpenVINO's queue FP32",
            ),
            (
                "INT8 in place of FP32: Thorax INT8 over the fastest FP32 elsewhere",
                f"fastest resnet50_peers thorax_int8 {_FP32_ELSEWHERE}",
            ),
        )
    ),
    _speed(
        "LoadGen offline, INT8, over OpenVINO's own queue",
        "{ratio scenarios_against_async_queue offline, int8 at 224 px, images/s}",
        "scenarios_against_async_queue",
    ),
    _speed(
        "`thorax benchmark`, INT8, over benchmark_app",
        "{ratio offline_against_benchmark_app thorax benchmark over benchmark_app, int8}",
        "offline_against_benchmark_app",
    ),
    _speed(
        "`classify` from start to exit over a bare script, time (less is better)",
        "{ratio classify_startup classify over a bare OpenVINO script}",
        "classify_startup",
    ),
    *(
        _cost(precision, task, drop, title)
        for precision, task, drop, title in (
            (
                "int8",
                "phantoms",
                "drop",
                "mean AUROC on the test split that INT8 costs, phantoms; ResNet-50, DenseNet-121, VGG-16; above 0 is a loss",
            ),
            (
                "int8",
                "kermany",
                "drop_by_finding.Bacterial",
                "AUROC on the test split that INT8 costs, bacterial against viral pneumonia of children; the same networks",
            ),
            (
                "fp11",
                "phantoms",
                "drop",
                "mean AUROC on the test split that FP11 of the simulated card costs, phantoms",
            ),
            (
                "fp11",
                "kermany",
                "drop_by_finding.Bacterial",
                "AUROC on the test split that FP11 of the simulated card costs, bacterial against viral pneumonia of children",
            ),
        )
    ),
    Headline(
        "shallow_baselines",
        "AUROC on the test split of what needs no network: regressions on 16 x 16 blocks",
        (
            "phantoms {shallow_baselines: tasks.drawings.models[name=block_deviations].mean_auroc.value | .2f}; ChestX-ray14 "
            "{shallow_baselines: tasks.radiographs.models[name=block_deviations].mean_auroc.value | .2f}, of view, age and sex without an image "
            "{shallow_baselines: tasks.radiographs.models[name=facts].mean_auroc.value | .2f}; children, pneumonia "
            "{shallow_baselines: tasks.children.models[name=block_deviations].auroc.Pneumonia.value | .2f}, bacterial "
            "{shallow_baselines: tasks.children.models[name=block_deviations].auroc.Bacterial.value | .2f}",
        ),
    ),
    Headline(
        "phantom_network",
        "mean AUROC on the test split of phantoms of 128 x 128, ResNet-18 of full width",
        (
            "{phantom_network: mean_auroc.value | .3f} [{phantom_network: mean_auroc.low | .3f}, "
            "{phantom_network: mean_auroc.high | .3f}]",
        ),
    ),
    Headline(
        "main_job",
        "`make demo` without the installation; mean AUROC on the test split of its phantoms",
        (
            "{main_job: elapsed_s | .0f} s; {main_job: mean_auroc.fp32.value | .3f} "
            "[{main_job: mean_auroc.fp32.low | .3f}, {main_job: mean_auroc.fp32.high | .3f}], "
            "INT8 {main_job: mean_auroc.int8.value | .3f}",
        ),
    ),
    Headline(
        "nih_official_recipe",
        "mean AUROC on the test split of ChestX-ray14, DenseNet-121 from scratch, 64 x 64",
        (
            "{nih_official_recipe: mean_auroc_interval.value | .2f} "
            "on {nih_official_recipe: split.test | ,d} images, trained on "
            "{nih_official_recipe: split.train | ,d}; no interval, as some findings have fewer than ten "
            "patients",
        ),
    ),
    *(
        Headline(
            f"large_batch_{study}",
            f"{what} on the test split at {times} times the batch, minus that of 32 images; below 0 is a loss",
            (_lost(study, key, 32 * times, *arms),),
        )
        for study, key, what, both in (
            ("phantoms", "", "mean AUROC of phantoms", (16, 64)),
            ("kermany", "harder_", "children, AUROC of bacterial against viral", (8, 32)),
        )
        for times, arms in zip(both, (_MIDDLE, (*_LARGE, ("Adam", "adam-tuned"))), strict=True)
    ),
    Headline(
        "dicom_readers",
        "DICOM test files of three other projects that agree with dcmtk or pydicom within 2/255",
        (
            "{dicom_readers: counts[*].agrees | sum | d} of {dicom_readers: files[*][*] | count | d}; "
            "{dicom_readers: counts[*].refused | sum | d} refused",
        ),
    ),
    Headline(
        "reliability_kills",
        "runs that were killed at random moments and begun anew",
        (
            "{reliability_kills: kills | d} kills; {reliability_kills: kinds[*].finished | sum | d} runs came "
            "to their end, {reliability_kills: kinds[*].different | sum | d} of them other than undisturbed; "
            "{reliability_kills: lost | d} lost",
        ),
    ),
    Headline(
        "reliability_bits",
        "bits changed on disk, one at a time",
        ("{reliability_bits: flips | ,d}, {reliability_bits: used_silently | d} used",),
    ),
    Headline(
        "reliability_models",
        "damaged model files",
        (
            "{reliability_models: formats[*].tried | sum | ,d}, of which "
            "{reliability_models: formats[*].read | sum | ,d} are valid graphs all the same; "
            "{reliability_models: formats[*].lost[*] | count | d} did anything beyond the child that reads them",
        ),
    ),
    Headline(
        "fpga_published",
        "cycle model of the card within 15 % of published figures",
        (
            "of figures known before the model was made: {fpga_published: nothing_came.within_goal | d} of "
            "{fpga_published: nothing_came.rows | d} that had no part in it, "
            "{fpga_published: had_part.within_goal | d} of {fpga_published: had_part.rows | d} that had; of "
            "figures found after it was frozen: {fpga_predictions: within_goal | d} of "
            "{fpga_predictions: compared[*] | count | d}. {fpga_predictions: predictions[*] | count | d} "
            "predictions were written down; of {fpga_predictions: compared[*written_down=True] | count | d} "
            "of them a published figure was found",
        ),
        Kind.MODELLED,
    ),
    Headline(
        "cluster_predictions",
        "published training times of clusters within 10 %",
        (
            "{cluster_predictions: left_out_in_all.within_goal | d} of "
            "{cluster_predictions: left_out_in_all.rows | d}, each system computed with the losses of "
            "another; " + _ZENITH,
            _ZENITH,
        ),
        Kind.MODELLED,
    ),
)
