"""What a radiologist asks of the signs: each is where, and what, its definition says."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from tests.phantoms.conftest import Pair

from thorax.labels import NIH14
from thorax.phantoms import sampling
from thorax.phantoms.chest import SIDES, SIGN
from thorax.phantoms.lateral import Lateral
from thorax.phantoms.phantom import Exposure, expose, spacing_mm
from thorax.phantoms.sampling import choose, plan
from thorax.phantoms.style import Style
from thorax.phantoms.vessels import vessels

LOCAL = (
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Consolidation",
    "Pleural_Thickening",
    "Hernia",
    "Effusion",
)
"""Findings that leave the chest's measures alone, so that only their lesions' pixels differ."""

PLAIN = Style(subtlety=(0, 0))
LATERAL = Style("lateral", (0, 0))


def _inside(shot: Exposure, margin: float = 0.0) -> npt.NDArray[np.bool_]:
    """Bool [S, S]: in any box, each widened by a share of the field."""
    side = len(shot.density)
    centre = (np.arange(side) + 0.5) / side
    mask = np.zeros((side, side), bool)
    for box in shot.sheet.boxes:
        x = (centre > box.x - margin) & (centre < box.x + box.width + margin)
        y = (centre > box.y - margin) & (centre < box.y + box.height + margin)
        mask |= y[:, None] & x
    return mask


def _lungs(shot: Exposure) -> npt.NDArray[np.uint8]:
    layer = shot.sheet.canvas.blank()
    for side in SIDES:
        shot.sheet.canvas.fill(layer, shot.sheet.view.lung(side), 255)
    return layer


@pytest.mark.parametrize("finding", LOCAL)
def test_a_local_finding_changes_its_boxes_and_nothing_else(pair: Pair, finding: str) -> None:
    for index in range(6):
        ill, _, change = pair(finding, index, style=PLAIN)
        # The heart lets a little of what lies behind it through: not enough to box.
        assert np.abs(change[~_inside(ill, margin=0.035)]).max() < 0.07, index
        assert np.abs(change[_inside(ill)]).max() > 0.08, index


def _cardiothoracic_ratio(shot: Exposure) -> float:
    """Widest heart by widest chest, as it is measured on a film."""
    view = shot.sheet.view
    heart = view.heart()
    heart = heart[heart[:, 1] > view.chest.height(0, 0.5)]
    lungs = np.concatenate([view.lung(side) for side in SIDES])
    return float(np.ptp(heart[:, 0]) / np.ptp(lungs[:, 0]))


def test_the_heart_takes_more_than_half_of_the_chest_exactly_where_it_is_called_large() -> None:
    enlarged = 0
    for index in range(250):
        names = choose(17, index)
        ratio = _cardiothoracic_ratio(expose(17, index, names, side=128))
        assert (ratio > 0.5) == ("Cardiomegaly" in names), (index, ratio)
        enlarged += ratio > 0.5
    assert enlarged > 15


def test_a_collapsed_lobe_draws_dome_midline_and_hilum_towards_it(pair: Pair) -> None:
    for index in range(20):
        ill, well, _ = pair("Atelectasis", index, side=128)
        after, before = ill.sheet.view.chest, well.sheet.view.chest
        ((site,),) = (lesion.sites for lesion in ill.lesions)
        side = site.side
        assert SIGN[side] * (after.middle - before.middle) > 0.01
        assert after.dome[side] < before.dome[side] - 0.005
        assert after.dome[1 - side] == before.dome[1 - side]
        pull = after.hilum[side] - before.hilum[side]
        assert pull * (-1 if site.zone == sampling.UPPER else 1) > 0.01


def test_there_are_no_vessels_outside_the_visceral_pleura(pair: Pair) -> None:
    for index in range(12):
        ill, well, _ = pair("Pneumothorax", index, style=PLAIN)
        bare = ill.sheet.bare
        assert bare is not None
        canvas = ill.sheet.canvas
        drawn = vessels(ill.sheet.view, canvas, ill.sheet)
        assert not drawn[bare == 255].any()
        assert vessels(well.sheet.view, canvas, well.sheet)[bare == 255].any()
        assert np.array_equal(
            drawn[bare == 0], vessels(well.sheet.view, canvas, well.sheet)[bare == 0]
        )


def test_a_pneumothorax_is_darker_than_lung_beside_a_white_line(pair: Pair) -> None:
    for index in range(8):
        ill, _, change = pair("Pneumothorax", index, style=PLAIN)
        bare = ill.sheet.bare
        assert bare is not None
        assert np.median(change[bare == 255]) < -0.02
        assert change[_inside(ill)].max() > 0.05


def test_ribs_and_vessels_keep_their_contrast_through_a_mass(pair: Pair) -> None:
    for index in range(8):
        ill, well, change = pair("Mass", index, style=PLAIN)
        fine = [p - cv2.GaussianBlur(p, (0, 0), 3.0) for p in (ill.density, well.density)]
        core = change > 0.85 * change.max()
        kept = np.polyfit(fine[1][core], fine[0][core], 1)[0]
        assert 0.85 < kept < 1.15, (index, kept)


@pytest.mark.parametrize("finding", ["Nodule", "Mass", "Pleural_Thickening", "Atelectasis"])
def test_what_takes_the_place_of_air_is_no_denser_than_the_heart(pair: Pair, finding: str) -> None:
    for index in range(12):
        ill, well, _ = pair(finding, index, style=PLAIN)
        layer = ill.sheet.canvas.blank()
        ill.sheet.canvas.fill(layer, ill.sheet.view.heart(), 255)
        heart = np.percentile(well.density[cv2.erode(layer, np.ones((9, 9), np.uint8)) > 0], 90)
        beside = _inside(ill) & (_lungs(ill) == 255) & (layer == 0)
        smooth = cv2.GaussianBlur(ill.density - well.density, (0, 0), 2.0) + np.median(
            well.density[_lungs(well) == 255]
        )
        assert np.percentile(smooth[beside], 98) < heart, index


def test_the_fluid_of_a_hernia_is_no_denser_than_the_spine(pair: Pair) -> None:
    for index in range(12):
        ill, well, change = pair("Hernia", index, style=PLAIN)
        assert change.max() < 0.06, index
        assert change.min() < -0.05, "gas"
        assert np.percentile(ill.density[_inside(ill)], 98) < well.density.max()


def test_no_edge_cuts_across_a_left_lung(pair: Pair) -> None:
    for index in range(24):
        ill, _, change = pair("Consolidation", index, style=PLAIN)
        if {site.side for lesion in ill.lesions for site in lesion.sites} == {1}:
            layer = _lungs(ill)
            ill.sheet.canvas.fill(layer, ill.sheet.view.heart(), 0)
            open_lung = cv2.erode(layer, np.ones((17, 17), np.uint8)) > 0
            steep = np.abs(np.gradient(cv2.GaussianBlur(change, (0, 0), 1.5), axis=0))
            assert np.percentile(steep[open_lung], 98) < 0.018, index


def test_a_ball_is_thickest_in_its_middle(pair: Pair) -> None:
    for index in range(8):
        _, _, change = pair("Mass", index, side=512, style=PLAIN)
        inside = change > 0.1 * change.max()
        # Of a disc all of the area is near the largest value, of a ball's chords about a half.
        share = float((change[inside] > 0.75 * change.max()).mean())
        assert share < 0.62, (index, share)


def test_a_nodule_is_under_three_centimetres_and_a_mass_over() -> None:
    cm = spacing_mm(1) / 10
    for index in range(30):
        for box in expose(12, index, ["Nodule"], side=128).sheet.boxes:
            assert 0.8 < max(box.width, box.height) * cm < 3.0
        for box in expose(12, index, ["Mass"], side=128).sheet.boxes:
            assert min(box.width, box.height) * cm > 3.0


@pytest.mark.parametrize("finding", ["Nodule", "Mass"])
def test_the_box_of_a_round_lesion_is_tight(pair: Pair, finding: str) -> None:
    for index in range(8):
        ill, _, change = pair(finding, index, side=512, style=PLAIN)
        if len(ill.sheet.boxes) > 1:
            continue
        (box,) = ill.sheet.boxes
        y, x = np.nonzero(change > 0.12 * change.max())
        measured = np.array((x.min(), y.min(), x.max() + 1, y.max() + 1)) / 512
        stated = np.array((box.x, box.y, box.x + box.width, box.y + box.height))
        assert np.abs(measured - stated).max() < 0.022, index


def test_an_effusion_climbs_at_the_wall_and_blunts_the_angle(pair: Pair) -> None:
    for index in range(10):
        ill, _, change = pair("Effusion", index, style=PLAIN)
        middle = ill.sheet.canvas.place(np.array((ill.sheet.view.chest.middle, 0.6)))[0]
        for box in ill.sheet.boxes:
            x, y, w, h = (round(256 * v) for v in (box.x, box.y, box.width, box.height))
            wet = change[y : y + h, x : x + w] > 0.06
            right = box.x + box.width / 2 < middle
            outer = wet[:, : w // 4] if right else wet[:, -(w // 4) :]
            inner = wet[:, -(w // 3) :] if right else wet[:, : w // 3]
            assert outer.any()
            first = np.argmax(outer.any(axis=1))
            assert not inner.any() or first <= np.argmax(inner.any(axis=1)) + 1, "meniscus"


def test_emphysema_flattens_domes_thins_vessels_and_narrows_the_heart(pair: Pair) -> None:
    for index in range(10):
        ill, well, _ = pair("Emphysema", index, side=128)
        after, before = ill.sheet.view.chest, well.sheet.view.chest
        for side in SIDES:
            curve = after.angle[side] - after.dome[side]
            assert curve < 0.5 * (before.angle[side] - before.dome[side])
            assert after.dome[side] > before.dome[side]
        assert after.vessels < 0.65 * before.vessels
        assert after.ratio < before.ratio
        lung = [cv2.erode(_lungs(shot), np.ones((15, 15), np.uint8)) > 0 for shot in (ill, well)]
        assert np.median(ill.density[lung[0]]) < np.median(well.density[lung[1]]) - 0.01


def test_consolidation_has_air_bronchograms_and_stays_within_its_lung(pair: Pair) -> None:
    for index in range(8):
        ill, _, change = pair("Consolidation", index, style=PLAIN)
        filled = cv2.morphologyEx(change, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        lobe = cv2.erode((filled > 0.12).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        airways = lobe & (change < 0.8 * filled)
        assert airways.sum() > 0.004 * lobe.sum() > 0
        # Air in a tube is no darker than the lung would be.
        assert change[lobe].min() > -0.01
        assert np.abs(change[_lungs(ill) == 0]).max() < 0.05


def test_fibrosis_is_a_net_in_the_bases_of_the_lungs(pair: Pair) -> None:
    for index in range(8):
        ill, _, change = pair("Fibrosis", index, style=PLAIN)
        net = np.abs(change - cv2.GaussianBlur(change, (0, 0), 3.0))
        y = ill.sheet.canvas.coordinates()[1]
        lungs = cv2.erode(_lungs(ill), np.ones((9, 9), np.uint8)) > 0
        chest = ill.sheet.view.chest
        low = y > chest.height(0, 0.7)
        assert net[lungs & low].mean() > 5 * net[lungs & (y < chest.height(0, 0.45))].mean()


def test_edema_is_about_both_hila_and_reverses_the_flow(pair: Pair) -> None:
    for index in range(8):
        ill, well, change = pair("Edema", index, style=PLAIN)
        assert ill.sheet.congestion > well.sheet.congestion == 0
        assert ill.sheet.hazy > 0
        middle = ill.sheet.canvas.place(np.array((ill.sheet.view.chest.middle, 0.4)))[0]
        assert {b.x + b.width / 2 < middle for b in ill.sheet.boxes} == {True, False}
        assert change[_inside(ill)].mean() > 0.01


def test_one_sided_findings_have_one_side_and_infiltration_has_both() -> None:
    for index in range(12):
        for finding in ("Consolidation", "Pneumonia", "Pneumothorax", "Pleural_Thickening"):
            ((lesion,),) = (plan(13, index, [finding]),)
            assert len({site.side for site in lesion.sites}) == 1
        (lesion,) = plan(13, index, ["Infiltration"])
        assert {site.side for site in lesion.sites} == {0, 1}


def test_subtlety_is_drawn_evenly_from_its_range() -> None:
    drawn = np.array([plan(1, i, ["Nodule"], (0.2, 0.8))[0].subtlety for i in range(600)])
    assert 0.2 <= drawn.min() < 0.23
    assert 0.77 < drawn.max() <= 0.8
    assert np.percentile(drawn, [25, 50, 75]) == pytest.approx([0.35, 0.5, 0.65], abs=0.04)


@pytest.mark.parametrize("finding", LOCAL)
def test_a_subtler_lesion_is_the_same_lesion_with_less_contrast(pair: Pair, finding: str) -> None:
    for index in range(4):
        strength = []
        for level in (0.0, 0.4, 0.8):
            ill, _, change = pair(finding, index, style=Style(subtlety=(level, level)))
            strength.append(float(np.abs(change).sum()))
            assert {lesion.subtlety for lesion in ill.lesions} == {level}
        assert strength[0] > 1.15 * strength[1] > 1.3 * strength[2] > 0, (index, strength)


@pytest.mark.parametrize("finding", NIH14.findings)
def test_a_lateral_view_shows_the_finding_and_boxes_it(pair: Pair, finding: str) -> None:
    for index in range(4):
        ill, _, change = pair(finding, index, style=LATERAL)
        assert ill.view == "LL"
        assert {box.finding for box in ill.sheet.boxes} == {finding}
        assert np.abs(change[_inside(ill)]).max() > 0.04, index


def test_fluid_lies_behind_and_a_hernia_behind_the_heart_in_a_lateral_view() -> None:
    for index in range(8):
        shot = expose(14, index, ["Effusion"], side=128, style=LATERAL)
        view = shot.sheet.view
        assert isinstance(view, Lateral)
        for box in shot.sheet.boxes:
            x, y = shot.sheet.canvas.unplace(
                np.array((box.x + box.width / 2, box.y + box.height / 2))
            )
            assert x > view.at(0.15)
            assert y > view.chest.height(0, 0.7)
        shot = expose(14, index, ["Hernia"], side=128, style=LATERAL)
        (box,) = shot.sheet.boxes
        x, _ = shot.sheet.canvas.unplace(np.array((box.x + box.width / 2, box.y)))
        assert shot.sheet.view.heart()[:, 0].mean() < x < shot.sheet.view.at(0.35)  # type: ignore[attr-defined]


@pytest.mark.parametrize("finding", ["Pneumonia", "Hernia"])
def test_a_lesion_of_one_lung_leaves_the_air_of_the_other_in_a_lateral_view(finding: str) -> None:
    for index in range(8):
        sheet = expose(14, index, [finding], side=128, style=LATERAL).sheet
        filled = sheet.fill if sheet.solid is None else sheet.solid
        assert 0.1 < filled.max() <= 0.5, index


def test_the_visceral_pleura_is_one_line_in_a_lateral_view() -> None:
    for index in range(8):
        sheet = expose(14, index, ["Pneumothorax"], side=512, style=LATERAL).sheet
        edge = sheet.edge
        assert edge is not None
        # Near the apex, where it turns; farther down it is too steep to count along columns.
        line = edge > 0.4 * edge.max()
        line &= sheet.canvas.coordinates()[1] < sheet.view.chest.height(0, 0.2)
        runs = np.diff(line.astype(np.int8), axis=0, prepend=0) == 1
        assert runs.sum(axis=0).max() == 1, index
