"""What hostile readers said of earlier figures, and what stands now.

Earlier figures stand in quotation marks. What stands now names its figures in braces as
benchmarks/evidence.py does; where no file has one the page says that it is not measured yet.
"""

# ruff: noqa: E501  # titles and paths that are better read on one line

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Objection:
    """One objection, and what stands now, with figures in braces."""

    said: str
    stands: str


OBJECTIONS: Final[Sequence[Objection]] = (
    Objection(
        'INT8 "2.16 x ONNX Runtime": its activations were QInt8, which it advises against on x86; '
        'with QUInt8 "1.02 to 1.05"',
        "withdrawn. Peers are set as their documentation asks for on the processor at hand. "
        "{comparisons int8_resnet50 onnx}",
    ),
    Objection(
        'server scenario, "highest valid rate 1.00": both searches had ended at their floor',
        "withdrawn. A search that finds no rate says so. "
        "{comparisons scenarios_against_async_queue server}",
    ),
    Objection(
        "the peer under LoadGen was handed a fresh array a request",
        "it gets tensors that stay. {comparisons scenarios_against_async_queue offline}",
    ),
    Objection(
        'two Ray actors "1.07": start-up was left out, two turns in a fixed order',
        "with start-up {cluster_classify: median.actors.images_per_s | .0f} against "
        "{cluster_classify: median.one_process.images_per_s | .0f} images/s in the turns of then; "
        "anew: {comparisons cluster_classify actors | whole | steady}",
    ),
    Objection(
        'end to end "1.06" against a bound, turns in a fixed order; ratio of medians "0.997"',
        "a ratio above a bound needs an explanation in the file. {comparisons classify_end_to_end classify | parts | end}",
    ),
    Objection(
        'emulation "1.30" of a graph that went round HETERO, one image at a time',
        "measured on the way that users take. {comparisons fpga_emulation_cost hetero | latency | offline}",
    ),
    Objection(
        'start-up "1.21" in wall clock, with processor time "1.7 to 1.96"',
        "both are told. {comparisons classify_startup classify}",
    ),
    Objection(
        "meter costs were those of text files and of an emulator",
        "they are, and the claim above says it: no machine with RAPL or a BMC was at hand.",
    ),
    Objection(
        'the INT8 "peak" was OpenVINO\'s own kernels, and ResNet-50 went beyond it',
        "it is called the fastest matrix product that OpenVINO was seen to run. Peak of the "
        "instructions: {comparisons int8_resnet50 peak}",
    ),
    Objection(
        'FPGA "predictions" were known beforehand: the depthwise rule from MobileNet, GoogLeNet\'s 900 '
        "counted twice, a latency of a calibrated rate and published counters",
        "[each row](fpga.md#against-published-figures) says how it came about, and no row whose figure "
        "was known counts as predicted. Within 15 %: {fpga_published: within_goal | d} of "
        "{fpga_published: predicted | d}",
    ),
    Objection(
        "`assumed` was empty for bitstreams",
        "no source tells which architecture a bitstream holds: it is assumed, and listed so.",
    ),
    Objection(
        "`-pc lines` added modelled and measured times",
        "each kind has a total of its own, and there is no sum of both.",
    ),
    Objection(
        "choices of the systems of clusters were hidden, and rows that led to them called predicted",
        "[every choice is listed](planning.md#how-far-to-trust-the-model-of-a-cluster), with models "
        "that have none beside it: zenith with one fitted number "
        "{cluster_predictions: summary[system=zenith,model=rate alone].within_goal | d} of "
        "{cluster_predictions: summary[system=zenith,model=rate alone].predicted | d} rows within 10 %.",
    ),
    Objection(
        "a plan of an edited card showed the title and sources of the real one",
        "an edited card is refused, or told in title and sources.",
    ),
    Objection(
        'phantoms gave their labels away: a logistic regression of 16 x 16 means reaches "0.886", with '
        'deviations "0.916", whole-image statistics alone "0.785"',
        "`thorax data baseline` says so of any store. Phantoms of now: "
        "{phantom_baselines: baselines.block_statistics.mean.value | .3f}",
    ),
    Objection(
        "what radiologists find wrong in phantoms: no volume loss, opaque lesions, vessels beyond a "
        "pneumothorax",
        "phantoms are schematic: a network that has seen only them knows nothing of people. What is "
        "drawn, and what is not, stands under [phantoms](data.md#phantoms).",
    ),
    Objection(
        'FP11 "loses nothing", yet a finding flips in "14.5 %" of 400 images of the demo, INT8 "10 %"',
        "AUROC does not see a threshold. Flips stand beside it, also after thresholds are chosen anew "
        "for the precision. Images with a flip, "
        "INT8: {kermany: networks.resnet18.int8.flips.images | .1%}",
    ),
    Objection(
        'heat maps: three findings were shown; over all, "0.55" against "0.56" of the best fixed point',
        "the mean over all findings is {main_job: pointing[*].rate | mean | .2f}; "
        "of the best fixed point {main_job: pointing_baseline.best_point.mean | .2f}",
    ),
    Objection(
        "large batches: SGD was tuned with fewer tries than LARS",
        "so it was, and [the page](large-batch.md) says which rates were tried: its LARS is no proof "
        "that SGD could not do as well.",
    ),
    Objection(
        "figures without a result file",
        "dropped. A test binds every figure of README, CHANGELOG and docs to a result file, or to "
        "what else it is ([decision 14](decisions/0014-every-figure-is-bound.md)).",
    ),
    Objection(
        'a replay "to 1e-9", tested with 1e-6 J of tolerance',
        "no figure is claimed that a test does not hold.",
    ),
    Objection(
        "tests that assert nothing, or compare a formula with itself",
        "those that were named hold identities or other implementations now.",
    ),
    Objection(
        "`optimize` printed FP32 minus INT8, `validate` INT8 minus FP32",
        "a drop is the reference minus the candidate, everywhere.",
    ),
    Objection(
        "the demo's tile and table were of different splits",
        "every AUROC names its split.",
    ),
)
