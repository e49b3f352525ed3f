"""What hostile readers said of earlier figures, and what stands now."""

# ruff: noqa: E501  # sentences and paths that are better read on one line

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Objection:
    """One objection.

    Attributes:
        said: by a reader; earlier figures in quotation marks.
        stands: what stands now.
        figures: figures of now, in braces as evidence.py names them: the first that the result
            files can fill. Where there are some and no file has one, the page says that it is
            not measured yet.
        held_by: tests that fail where it no longer stands, `FILE::NAME` within tests/.
    """

    said: str
    stands: str
    figures: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()


OBJECTIONS: Final[Sequence[Objection]] = (
    Objection(
        'INT8 "2.16" times ONNX Runtime: its activations were QInt8, which it advises against on x86; with QUInt8 "1.02 to 1.05"',
        "Withdrawn. Peers are set as their documentation asks for on the processor at hand. What is left is not Thorax's own: bare OpenVINO has it, too. ONNX Runtime does not tell its kernels, so why the ratio is so large on the processor with AMX is not known. Now:",
        ("{comparisons resnet50_peers int8 over onnx}",),
    ),
    Objection(
        'Server scenario, "highest valid rate 1.00": both searches had ended at their floor',
        "Withdrawn. A search that ends at the floor or at the top of its rates gives no ratio, and says so. One that ends between them is known to a step of its grid.",
        ("{comparisons scenarios_against_async_queue highest}",),
        held_by=(
            "side_by_side/test_scenarios.py::test_a_search_that_ends_at_its_border_gives_no_ratio",
        ),
    ),
    Objection(
        'Server runs at "82 %" of the offline rate broke their limit, and runs of some 25 queries are no verdict of LoadGen',
        "Every server run has the queries that LoadGen's verdict needs, and [the table](#loadgen-over-thorax-and-over-openvinos-own-queue) says how many turns were valid; a goal is not met by others.",
        held_by=(
            "side_by_side/test_scenarios.py::test_every_server_run_asks_for_the_queries_of_a_verdict",
            "test_figures.py::test_a_goal_is_not_met_by_turns_that_were_not_valid",
        ),
    ),
    Objection(
        "The peer under LoadGen was handed a fresh array a request, and images of 64 x 64",
        "It gets tensors that stay, and both precisions one size that is told: the figures above.",
    ),
    Objection(
        'Two Ray actors "1.07": start-up was left out, two turns in a fixed order',
        "Both are told: the whole run, and the later half of the shards, when all have started:",
        (
            "{comparisons cluster_classify *}",
            "{cluster_classify: median.actors.images_per_s | .0f} against {cluster_classify: median.one_process.images_per_s | .0f} images/s",
        ),
    ),
    Objection(
        'End to end "1.06" of what its parts allow, turns in a fixed order; ratio of medians "0.997"',
        "Withdrawn as evidence of anything above 1: decoding and computing share the processors. A ratio above a bound needs an explanation in its file.",
        ("{comparisons classify_end_to_end *}",),
        held_by=(
            "side_by_side/test_turns.py::test_the_order_is_random_and_its_seed_repeats_it",
            "side_by_side/test_turns.py::test_a_ratio_beyond_its_bound_must_be_explained",
        ),
    ),
    Objection(
        'Emulation "1.30" of a graph that went round HETERO, one image at a time',
        "To be read as that. `-d HETERO:FPGA,CPU`, in latency and offline:",
        ("{comparisons fpga_emulation_cost *}",),
    ),
    Objection(
        'Start-up "1.21" in wall clock, with processor time "1.7 to 1.96"',
        "Withdrawn. Wall clock, against a goal of 1.5, and processor time stand [side by side](#thorax-classify-on-one-image-start-to-exit):",
        (
            "{comparisons classify_startup *}",
            "{classify_startup: median_ratio.classify | .2f}, processor time {classify_startup: median_ratio_of_cpu.classify | .2f}",
        ),
    ),
    Objection(
        "Meter costs were those of text files and of an emulator",
        "They are, and the claim says it: no machine with RAPL or a BMC was at hand.",
    ),
    Objection(
        'INT8 at "1.01" of a "peak" that was OpenVINO\'s own kernels',
        "It is the fastest matrix product that OpenVINO was seen to run, and no peak. What the instructions can do:",
        ("{comparisons hardware_peak *}",),
    ),
    Objection(
        'Layers at "539 %" of the roof that `analyze` draws',
        "A roof is raised by what was seen to be faster, and one that was given is told where a layer passes it.",
        held_by=(
            "analysis/test_roofline.py::test_no_layer_passes_a_roof_that_was_measured",
            "analysis/test_roofline.py::test_a_roof_that_was_given_stays_and_what_passes_it_is_told",
        ),
    ),
    Objection(
        "A modelled latency moved from run to run, because times of the host were in it",
        "What other devices took stands beside a modelled figure and is no part of it.",
        held_by=(
            "devices/test_forecast.py::test_what_other_devices_took_enters_no_modelled_figure",
        ),
    ),
    Objection(
        "FPGA figures called predictions were known beforehand: the depthwise rule came from MobileNet, one figure of GoogLeNet was counted twice, a latency was a calibrated rate and published counters",
        "[Each row](fpga.md#against-published-figures) says how it came about; none whose figure was known is a prediction. Within 15 %:",
        (
            "{fpga_published: nothing_came.within_goal | d} of {fpga_published: nothing_came.rows | d} of which nothing came in the model, {fpga_published: had_part.within_goal | d} of {fpga_published: had_part.rows | d} that had a part in it",
        ),
        held_by=(
            "fpga/test_published.py::test_no_row_is_called_a_prediction_and_each_says_what_came_of_its_figure",
            "fpga/test_published.py::test_each_published_figure_counts_once",
            "fpga/test_published.py::test_figures_that_had_a_part_are_counted_apart_and_misses_say_why",
        ),
    ),
    Objection(
        "What was compared after the model was frozen was none of what had been written down, and yet called a prediction",
        "It was [computed after the figure was found](fpga.md#found-after-the-model-was-frozen), by a model that was frozen before, and is called so. Within 15 %:",
        (
            "{fpga_predictions: within_goal | d} of {fpga_predictions: compared[*] | count | d}; of {fpga_predictions: predictions[*] | count | d} that were written down {fpga_predictions: compared[*written_down=True] | count | d} could be compared",
        ),
        held_by=(
            "fpga/test_published.py::test_what_was_compared_is_told_with_its_miss_and_called_no_prediction",
            "fpga/test_published.py::test_a_model_that_says_otherwise_than_was_written_down_leaves_no_result",
        ),
    ),
    Objection(
        "`assumed` was empty for bitstreams",
        "No source tells which architecture a bitstream holds: it is assumed, and listed so.",
        held_by=(
            "fpga/test_bitstreams.py::test_all_that_a_bitstream_is_taken_to_hold_is_listed_as_assumed_or_calibrated",
        ),
    ),
    Objection(
        "Parameters of an architecture that change nothing: the writer's width, the depth of the filter cache, interfaces",
        "Each changes time, memory or area, or takes one value and refuses others.",
        held_by=(
            "fpga/test_overlay.py::test_every_parameter_changes_the_model_or_takes_one_value_or_is_a_range",
            "fpga/test_overlay.py::test_a_parameter_changes_time_memory_or_area",
        ),
    ),
    Objection(
        "`-pc lines` added modelled and measured times",
        "Each kind of counter has a total of its own. What cards and other devices make together stands in a table of its own, whose heading says that it is a sum.",
        held_by=(
            "report/test_modelled.py::test_what_adds_a_measured_time_stands_in_a_table_that_says_so",
            "report/test_counters.py::test_lines_have_the_shape_of_2018_and_no_total_of_what_is_modelled_and_measured",
        ),
    ),
    Objection(
        "Choices of the systems of clusters were hidden, and rows that led to them called predictions",
        "[Every choice is listed](planning.md#how-far-to-trust-the-model-of-a-cluster), with models that have none beside it, and with every system left out in turn with all of its machine. Rows within 10 % so:",
        (
            "{cluster_predictions: left_out_in_all.within_goal | d} of {cluster_predictions: left_out_in_all.rows | d}",
        ),
        held_by=(
            "report/test_plan_cluster.py::test_choices_are_in_the_document_of_a_plan_beside_its_rows",
            "report/test_plan_cluster.py::test_choices_are_told_where_the_model_is_held_against_no_rows",
            "report/test_plan_cluster.py::test_nothing_of_a_plan_is_called_a_prediction",
            "plan/test_published.py::test_a_system_left_out_has_nothing_but_its_rate_from_its_rows",
        ),
    ),
    Objection(
        "`--workers 64` of a plan was 16 nodes, unsaid",
        "Workers are ranks; how many a node has, and how many nodes that makes, stands in every plan.",
        held_by=("report/test_plan_cluster.py::test_the_tables_fit_a_terminal_and_say_modelled",),
    ),
    Objection(
        "A plan with an edited card showed title and sources of the real one",
        "An edited card is refused, or told in title and sources.",
        held_by=(
            "plan/test_server_plan.py::test_an_edited_file_is_told_in_the_title_and_the_sources",
            "plan/test_system_files.py::test_an_edited_system_is_told_in_its_title_and_sources",
            "plan/test_server_plan.py::test_a_card_that_was_changed_below_a_right_digest_is_not_published",
            "plan/test_system_files.py::test_a_right_digest_below_other_constants_publishes_nothing",
        ),
    ),
    Objection(
        'Phantoms gave their labels away: a logistic regression of 16 x 16 means reaches "0.886", with deviations "0.916", statistics of the whole image alone "0.785"',
        "So they did. `thorax data baseline` tells it of any store. Phantoms of now:",
        (
            "means {shallow_baselines: tasks.drawings.models[name=block_means].mean_auroc.value | .3f}, with deviations {shallow_baselines: tasks.drawings.models[name=block_deviations].mean_auroc.value | .3f}, statistics {shallow_baselines: tasks.drawings.models[name=statistics].mean_auroc.value | .3f}",
        ),
        held_by=(
            "phantoms/test_independence.py::test_block_means_and_deviations_tell_little",
            "phantoms/test_independence.py::test_whole_image_statistics_tell_next_to_nothing",
        ),
    ),
    Objection(
        "Radiologists find much wrong in phantoms: no loss of volume, opaque lesions, vessels beyond a pneumothorax",
        "Phantoms are schematic, and a network that has seen only them knows nothing of people. What is drawn stands under [phantoms](data.md#phantoms).",
        held_by=(
            "phantoms/test_radiology.py::test_a_collapsed_lobe_draws_dome_midline_and_hilum_towards_it",
            "phantoms/test_radiology.py::test_there_are_no_vessels_outside_the_visceral_pleura",
            "phantoms/test_radiology.py::test_ribs_and_vessels_keep_their_contrast_through_a_mass",
            "phantoms/test_radiology.py::test_fibrosis_is_a_net_in_the_bases_of_the_lungs",
        ),
    ),
    Objection(
        'FP11 "costs nothing", yet a finding flips in "14.5 %" of 400 images of the demo, by INT8 in "10 %"',
        "AUROC does not see thresholds. Flips stand beside it, and again after thresholds were chosen anew for the precision.",
        (
            *(
                f"Of three networks the most is, {title}, FP11 {{precision_cost_{task}: rows[*precision=fp11].flips.same_points.images | max | * 100 | .1f}} % and INT8 {{precision_cost_{task}: rows[*precision=int8].flips.same_points.images | max | * 100 | .1f}} %; with own operating points {{precision_cost_{task}: rows[*precision=fp11].flips.own_points.images | max | * 100 | .1f}} % and {{precision_cost_{task}: rows[*precision=int8].flips.own_points.images | max | * 100 | .1f}} %"
                for task, title in (("phantoms", "on phantoms"), ("kermany", "on children"))
            ),
        ),
        held_by=(
            "evaluate/test_flips.py::test_flips_are_counted_by_image_and_by_finding_where_there_is_a_point",
            "evaluate/test_flips.py::test_points_of_its_own_undo_what_moves_all_scores_alike",
        ),
    ),
    Objection(
        'Heat maps: the three findings that do best were shown; over all, "0.55" against "0.56" of the best fixed point',
        "Hits of all findings stand [beside those of a random and of the best fixed point](inference.md#heat-maps), which is nearly as good as the maps that are the default.",
        (
            "Mean of the demo's findings {heatmaps: rows[0].pointing_mean.rate | .3f}, best fixed point {heatmaps: rows[0].pointing_mean.fixed_rate | .3f}, random point {heatmaps: rows[0].pointing_mean.random_rate | .3f}",
        ),
        held_by=(
            "evaluate/test_pointing.py::test_a_map_is_judged_beside_chance_and_a_point_of_other_images",
        ),
    ),
    Objection(
        "Large batches: SGD at 2,048 was tuned with fewer tries than LARS",
        "Every tuned arm, the small batch too, now tries rates by the same rule, each in full, and every arm of the code is reported ([the page](large-batch.md)). A goal is met where the whole interval meets it.",
        held_by=(
            "side_by_side/test_large_batch.py::test_every_tuned_way_tries_rates_by_the_same_rule",
        ),
    ),
    Objection(
        "Figures without a result file",
        "Dropped. A test binds every figure of README, CHANGELOG and docs to a result file, or to what else it is ([decision 14](decisions/0014-every-figure-is-bound.md)).",
        held_by=("test_figures.py::test_every_figure_of_the_documents_is_bound_and_right",),
    ),
    Objection(
        'A replay "to 1e-9", tested with 1e-6 J of tolerance',
        "The text claims what the test holds.",
        held_by=("power/test_meters.py::test_a_replayed_log_has_its_recorded_energy",),
    ),
    Objection(
        "Tests that assert nothing, or compare a formula with itself",
        "Those that were named hold identities or other implementations now: cycles against an array that is stepped through, arithmetic against integers, a half-interval against its goal.",
        held_by=(
            "fpga/test_overlay.py::test_an_array_that_is_stepped_through_computes_the_layer_in_the_cycles_that_are_modelled",
            "plan/test_simulation.py::test_the_page_tells_what_closed_forms_and_the_simulator_gave_and_all_of_it_is_met",
        ),
    ),
    Objection(
        "INT8 runs reported `compute: f32`",
        "What convolutions multiply in is reported, and read off the kernels that ran.",
        held_by=("inference/test_classify.py::test_int8_layers_are_computed_in_int8",),
    ),
    Objection(
        "Load was said to slow both sides alike",
        "It does not. A run beside others' load above what is allowed is not written.",
        held_by=(
            "side_by_side/test_turns.py::test_a_loaded_run_is_refused_with_its_share_and_what_to_do",
        ),
    ),
    Objection(
        "Nearly all hostile DICOM files were refused for their modality, which tests no decoder",
        "So they are, and each is read once more with the header of a radiograph.",
        held_by=("images/test_dicom.py::test_every_hostile_file_is_answered",),
    ),
    Objection(
        "`optimize` printed FP32 minus INT8, `validate` INT8 minus FP32",
        "A drop is the reference minus the candidate, everywhere.",
        held_by=(
            "report/test_accuracy.py::test_a_drop_is_this_minus_the_other_as_in_optimize",
            "quantization/test_optimize.py::test_the_drop_is_the_difference_of_the_two_cards",
        ),
    ),
    Objection(
        "The demo's tile and table were of different splits, unsaid",
        "Every table of AUROC names its split.",
        held_by=("test_figures.py::test_every_auroc_of_the_record_names_its_split",),
    ),
)
