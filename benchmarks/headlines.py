"""The few figures that README.md shows, each out of the newest result file of its claim."""

# ruff: noqa: E501  # titles and paths that are better read on one line

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.catalogue import Kind


@dataclass(frozen=True, slots=True)
class Headline:
    """One line of the figures of README.md.

    Attributes:
        claim: whose newest file says on what machine.
        title: what was measured.
        texts: what to say; figures stand in braces as benchmarks/evidence.py names them. The first
            text that the result files can fill is taken, and none where they cannot.
            `{comparisons CLAIM WORD | WORD}` are the comparisons of a claim that have a word in
            their names.
        kind: of the figures.
    """

    claim: str
    title: str
    texts: tuple[str, ...]
    kind: Kind = Kind.MEASURED


def _drops(precision: str, task: str) -> str:
    """Return the drops of three networks on one task."""
    return ", ".join(
        f"{{precision_cost: tasks.{task}.rows[network={network},precision={precision}].drop.value | z.4f}}"
        for network in ("resnet50", "densenet121", "vgg16_bn")
    )


def _flips(precision: str) -> str:
    """Return the most images that flip of three networks on both tasks, percent."""
    shares = ".flips.same_points.images | max | * 100 | .1f"
    return " and ".join(
        f"{{precision_cost: tasks.{task}.rows[*precision={precision}]{shares}}} %"
        for task in ("phantoms", "kermany")
    )


def _lost(study: str, middle: int, large: int) -> str:
    """Return what scaling, LARS and Adam leave of the loss of two batches."""
    summary = f"large_batch: studies.{study}.summary"
    scaled, lars = (
        " and ".join(
            f"{{{summary}[arm={arm},batch={batch}].difference | +.3f}}" for batch in (middle, large)
        )
        for arm in ("sgd-linear", "lars")
    )
    adam = f"{{{summary}[arm=adam-tuned,batch={large}].difference | +.3f}}"
    return f"linear scaling {scaled}, LARS {lars}, Adam {adam} at the larger"


_MODEL: Final = "cluster_predictions: summary[system=zenith,model=rate and cost of an update]"
_ZENITH: Final = (
    f"zenith, with {{{_MODEL}.free_numbers | d}} numbers fitted and {{{_MODEL}.choices | d}} choices "
    f"made with the rows known, {{{_MODEL}.within_goal | d}} of "
    f"{{{_MODEL}.tested else summary[system=zenith,model=rate and cost of an update].predicted | d}} "
    f"({{{_MODEL}.linear_within_goal | d}} by adding ranks up)"
)

HEADLINES: Final[Sequence[Headline]] = (
    Headline(
        "resnet50_peers",
        "INT8 ResNet-50 at 224 x 224, images/s",
        (
            "{comparisons resnet50_peers int8 over pytorch eager fp32 | int8 over onnx | "
            "int8 over pytorch eager, channels last bf16 | int8 over pytorch compiled bf16 | "
            "int8 over openvino}",
        ),
    ),
    Headline(
        "scenarios_against_async_queue",
        "LoadGen over Thorax against LoadGen over OpenVINO's own queue",
        (
            "{comparisons scenarios_against_async_queue at 224 px, images/s | at 224 px, highest}",
            "{comparisons scenarios_against_async_queue *}",
        ),
    ),
    Headline(
        "offline_against_benchmark_app",
        "`thorax benchmark` offline over OpenVINO's benchmark_app, ResNet-50",
        (
            "{comparisons offline_against_benchmark_app *}",
            "INT8 {offline_against_benchmark_app: models[precision=int8].ratio | .2f}, "
            "FP32 {offline_against_benchmark_app: models[precision=fp32].ratio | .2f}",
        ),
    ),
    Headline(
        "precision_cost",
        "what INT8 costs in mean AUROC, ResNet-50, DenseNet-121, VGG-16; negative is a gain",
        (
            f"phantoms {_drops('int8', 'phantoms')}; radiographs of children "
            f"{_drops('int8', 'kermany')}; a finding flips in up to {_flips('int8')} of the images",
        ),
    ),
    Headline(
        "precision_cost",
        "what FP11 of the simulated card costs, the same networks",
        (
            f"phantoms {_drops('fp11', 'phantoms')}; radiographs of children "
            f"{_drops('fp11', 'kermany')}; a finding flips in up to {_flips('fp11')} of the images",
        ),
    ),
    Headline(
        "shallow_baselines",
        "what needs no network: logistic regression of 16 x 16 means and deviations, of the border",
        (
            "phantoms {shallow_baselines: tasks.drawings.models[name=block_deviations].mean_auroc.value | .2f} "
            "and {shallow_baselines: tasks.drawings.models[name=border].mean_auroc.value | .2f}; "
            "children {shallow_baselines: tasks.children.models[name=block_deviations].mean_auroc.value | .2f} "
            "and {shallow_baselines: tasks.children.models[name=border].mean_auroc.value | .2f}",
        ),
    ),
    Headline(
        "main_job",
        "`make demo` without the installation; mean AUROC of its 14 findings on phantoms",
        (
            "{main_job: elapsed_s | .0f} s; {main_job: mean_auroc.fp32.value | .3f} "
            "[{main_job: mean_auroc.fp32.low | .3f}, {main_job: mean_auroc.fp32.high | .3f}], "
            "INT8 {main_job: mean_auroc.int8.value | .3f}",
        ),
    ),
    Headline(
        "nih_official_recipe",
        "DenseNet-121 from scratch on few radiographs of ChestX-ray14, 64 x 64, mean AUROC on the test split",
        (
            "{nih_official_recipe: split.train | ,d} to train on: "
            "{nih_official_recipe: mean_auroc_interval.value | .2f} "
            "[{nih_official_recipe: mean_auroc_interval.low | .2f}, "
            "{nih_official_recipe: mean_auroc_interval.high | .2f}]",
        ),
    ),
    Headline(
        "large_batch",
        "mean AUROC at 16 and 64 times the batch, equal epochs, minus that of 32 images",
        (
            f"phantoms: {_lost('phantoms', 512, 2048)}; radiographs of children, 8 and 32 times: "
            f"{_lost('kermany', 256, 1024)} (goal -0.005)",
        ),
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
        "what is lost when work is killed, bits change or models are damaged",
        (
            "{reliability_kills: kills | d} runs killed at random moments, "
            "{reliability_kills: lost | d} lost; {reliability_bits: flips | ,d} bits changed on disk, "
            "{reliability_bits: used_silently | d} used; {reliability_models: formats[*].tried | sum | ,d} "
            "damaged model files, {reliability_models: formats[*].lost[*] | count | d} beyond the child",
        ),
    ),
    Headline(
        "fpga_published",
        "cycle model of the card within 15 % of published figures",
        (
            "known beforehand {fpga_published: within_goal | d} of "
            "{fpga_published: known_beforehand | d}; looked up after the model was frozen "
            "{fpga_predictions: within_goal | d} of {fpga_predictions: comparisons[*] | count | d}",
            "{fpga_published: within_goal | d} of {fpga_published: predicted | d}, all known "
            "when the model was made",
        ),
        Kind.MODELLED,
    ),
    Headline(
        "cluster_predictions",
        "published training times of clusters within 10 %",
        (
            _ZENITH + "; every system left out in turn, losses taken from another: "
            "{cluster_predictions: left_out[*].left_out.within_goal | sum | d} of "
            "{cluster_predictions: left_out[*].left_out.rows | sum | d}",
            _ZENITH,
        ),
        Kind.MODELLED,
    ),
)
