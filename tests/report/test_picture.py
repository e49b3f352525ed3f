"""SVG files of their own: drawn by programs that know no rule of style, and dark in a browser."""

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.report import results, test_partition, test_plan_cluster, test_roofline

from thorax.report.figure import ON_WHITE, svg, write_figure
from thorax.report.partition_drawing import draw
from thorax.report.picture import SCHEME, picture, write_picture
from thorax.report.plan_cluster_plots import cluster_plot
from thorax.report.plan_server_plots import server_plot
from thorax.report.roofline import roofline_plot
from thorax.report.series import COLOURS

PAGE = Path(__file__).parents[2] / "src/thorax/report/page.html"
CONVERTER = shutil.which("rsvg-convert")
FIGURES = sorted((Path(__file__).parents[2] / "docs/figures").glob("*.svg"))


def curve() -> Figure:
    """A line in the first colour of the palette, two fifths of the height of its axes."""
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([0, 1], [0.4, 0.4], color=COLOURS[0], lw=8)
    axes.set(ylim=(0, 1), title="a < b")
    return figure


DRAWN: dict[str, Callable[[], str]] = {
    "roofline": lambda: picture(roofline_plot(test_roofline.result())),
    "partition": lambda: draw(test_partition.tell("CPU", ["CPU"])),
    "server": lambda: picture(server_plot(results.server_plan())),
    "cluster": lambda: picture(cluster_plot([test_plan_cluster.planned()])),
    "curve": lambda: picture(svg("curve", "A line.", curve)),
}


def _is_plain(text: str) -> None:
    """Check that each paint is a colour and an attribute, which rules of style replace."""
    root = ET.fromstring(text)
    rules = "".join(element.text or "" for element in root.iter() if element.tag.endswith("style"))
    plain = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", rules)
    assert "@media(prefers-color-scheme:dark)" in rules
    assert "@media" not in plain
    assert not re.search(r"(fill|stroke|color)\s*:", plain)
    for element in root.iter():
        assert not re.search(r"(^|;)\s*(fill|stroke)\s*:", element.get("style", ""))
        for paint in ("fill", "stroke"):
            value = element.get(paint, "none")
            assert re.fullmatch(r"none|#[0-9a-f]{6}|url\(#[\w-]+\)", value), value


@pytest.mark.parametrize("name", DRAWN)
def test_every_paint_is_a_plain_attribute(name: str) -> None:
    _is_plain(DRAWN[name]())


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.stem)
def test_every_figure_of_the_documents_is_plain_and_has_a_dark_scheme(path: Path) -> None:
    _is_plain(path.read_text("utf-8"))


def test_a_colour_of_the_dark_is_that_of_the_page() -> None:
    dark = PAGE.read_text("utf-8").partition("prefers-color-scheme: dark")[2].partition("* {")[0]
    names = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))
    assert [SCHEME[colour] for colour in COLOURS] == [names[f"s{n}"] for n in range(len(COLOURS))]
    assert set(SCHEME.values()) <= set(names.values())


@pytest.mark.parametrize("way", ["figure", "page"])
def test_a_program_without_rules_draws_colours_on_paper(tmp_path: Path, way: str) -> None:
    path = tmp_path / "curve.svg"
    if way == "figure":
        write_figure(curve, path, ON_WHITE)
    else:
        write_picture(svg("curve", "A line.", curve), path)
    _is_plain(path.read_text("utf-8"))
    if CONVERTER is None:
        return
    subprocess.run([CONVERTER, path, "-o", path.with_suffix(".png")], check=True, timeout=60)
    pixels = cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    assert tuple(pixels[2, 2][:3]) == (255, 255, 255)
    blue = tuple(int(COLOURS[0][at : at + 2], 16) for at in (5, 3, 1))
    assert (pixels[..., :3] == blue).all(axis=-1).sum() > 500
    assert np.median(pixels[..., :3]) > 200


def test_what_is_said_and_written_stays_as_it_was() -> None:
    drawn = picture(svg("curve", 'fill: #0072b2; style="x"', curve))
    assert 'aria-label="fill: #0072b2; style=&quot;x&quot;"' in drawn
    assert "a &lt; b" in drawn
    assert drawn == picture(svg("curve", 'fill: #0072b2; style="x"', curve))
