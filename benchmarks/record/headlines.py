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
        texts: what to say; figures stand in braces as evidence.py names them. The first text that the
            result files can fill is taken, and none where they cannot. `{comparisons CLAIM WORD |
            WORD}` are the comparisons of a claim that have a word in their names.
        kind: of the figures.
    """

    claim: str
    title: str
    texts: tuple[str, ...]
    kind: Kind = Kind.MEASURED


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
    share = "flips.same_points.images | max | * 100 | .1f"
    return Headline(
        f"precision_cost_{task}",
        title,
        (
            f"{_drops(precision, task, drop)}; a finding flips in up to "
            f"{{precision_cost_{task}: rows[*precision={precision}].{share}}} % of the images",
        ),
    )


def _lost(study: str, key: str, batches: tuple[int, int]) -> str:
    """Return what scaling, LARS and Adam leave of the loss of two batches, with intervals."""
    claim = f"large_batch_{study}"

    def one(arm: str, batch: int) -> str:
        row = f"summary[arm={arm},batch={batch}].{key}difference"
        ends = ", ".join(f"{{{claim}: {row}_interval[{end}] | +.3f}}" for end in (0, 1))
        return f"{{{claim}: {row} | +.3f}} [{ends}]"

    middle, large = batches
    return (
        f"linear scaling {one('sgd-linear', middle)} and {one('sgd-linear', large)}; "
        f"LARS {one('lars', middle)} and {one('lars', large)}; Adam at the larger "
        f"{one('adam-tuned', large)} (goal -0.005)"
    )


_MODEL: Final = "cluster_predictions: summary[system=zenith,model=rate and cost of an update]"
_ZENITH: Final = (
    f"zenith, with {{{_MODEL}.free_numbers | d}} numbers fitted and {{{_MODEL}.choices | d}} choices "
    f"made with the rows known, {{{_MODEL}.within_goal | d}} of "
    f"{{{_MODEL}.tested | d}} "
    f"({{{_MODEL}.linear_within_goal | d}} by adding ranks up)"
)

HEADLINES: Final[Sequence[Headline]] = (
    *(
        Headline("resnet50_peers", title, (f"{{comparisons resnet50_peers {words}}}",))
        for title, words in (
            (
                "INT8 ResNet-50 at 224 x 224, images/s over INT8 elsewhere",
                "int8 over onnx | int8 over pytorch compiled int8 | int8 over openvino",
            ),
            (
                "the same in BF16",
                "bf16 over pytorch compiled bf16 | bf16 over pytorch eager, channels last bf16 | "
                "bf16 over openvino",
            ),
            (
                "the same in FP32",
                "fp32 over onnx | fp32 over pytorch compiled fp32 | fp32 over openvino",
            ),
            (
                "INT8 over another precision elsewhere: what converting brings, not the engine alone",
                "int8 over pytorch eager fp32 | int8 over pytorch compiled bf16",
            ),
        )
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
    *(
        _cost(precision, task, drop, title)
        for precision, task, drop, title in (
            (
                "int8",
                "phantoms",
                "drop",
                "mean AUROC that INT8 costs, phantoms; ResNet-50, DenseNet-121, VGG-16; negative is a gain",
            ),
            (
                "int8",
                "kermany",
                "drop_by_finding.Bacterial",
                "the same, AUROC of bacterial against viral pneumonia of children",
            ),
            (
                "fp11",
                "phantoms",
                "drop",
                "mean AUROC that FP11 of the simulated card costs, phantoms",
            ),
            (
                "fp11",
                "kermany",
                "drop_by_finding.Bacterial",
                "the same, bacterial against viral pneumonia of children",
            ),
        )
    ),
    Headline(
        "shallow_baselines",
        "what needs no network: AUROC of regressions on 16 x 16 means and deviations, on the border",
        (
            "phantoms, mean of 14, {shallow_baselines: tasks.drawings.models[name=block_deviations].mean_auroc.value | .2f} "
            "and {shallow_baselines: tasks.drawings.models[name=border].mean_auroc.value | .2f}; children, "
            "pneumonia {shallow_baselines: tasks.children.models[name=block_deviations].auroc.Pneumonia.value | .2f} "
            "and {shallow_baselines: tasks.children.models[name=border].auroc.Pneumonia.value | .2f}, "
            "bacterial {shallow_baselines: tasks.children.models[name=block_deviations].auroc.Bacterial.value | .2f} "
            "and {shallow_baselines: tasks.children.models[name=border].auroc.Bacterial.value | .2f}",
        ),
    ),
    Headline(
        "phantom_network",
        "ResNet-18 of full width on phantoms of 128 x 128, mean AUROC of 14 findings",
        (
            "{phantom_network: mean_auroc.value | .3f} [{phantom_network: mean_auroc.low | .3f}, "
            "{phantom_network: mean_auroc.high | .3f}]",
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
        "large_batch_phantoms",
        "phantoms, mean AUROC at 16 and 64 times the batch, equal epochs, minus that of 32 images",
        (_lost("phantoms", "", (512, 2048)),),
    ),
    Headline(
        "large_batch_kermany",
        "children, bacterial against viral, at 8 and 32 times the batch",
        (_lost("kermany", "harder_", (256, 1024)),),
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
            "known beforehand, of those of which nothing came in the model "
            "{fpga_published: nothing_came.within_goal | d} of "
            "{fpga_published: nothing_came.rows | d}, of those that had a part in it "
            "{fpga_published: had_part.within_goal | d} of {fpga_published: had_part.rows | d}; "
            "computed after the figure was found, by a model that was frozen before, "
            "{fpga_predictions: within_goal | d} of {fpga_predictions: compared[*] | count | d}; "
            "{fpga_predictions: compared[*written_down=True] | count | d} of the "
            "{fpga_predictions: predictions[*] | count | d} that were written down could be compared",
        ),
        Kind.MODELLED,
    ),
    Headline(
        "cluster_predictions",
        "published training times of clusters within 10 %",
        (
            "every system left out in turn, losses taken from another machine: "
            "{cluster_predictions: left_out_in_all.within_goal | d} of "
            "{cluster_predictions: left_out_in_all.rows | d}; in sample " + _ZENITH,
            "in sample " + _ZENITH,
        ),
        Kind.MODELLED,
    ),
)
