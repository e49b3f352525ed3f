"""The report as a person sees it: opened in Chromium, light and dark, wide and on a phone."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import cv2
import numpy as np
import pytest
from benchmarks.subjects.published_networks import resnet18
from playwright.sync_api import Browser, Page, sync_playwright
from tests.benchmark import documents
from tests.cluster.documents import diagnosis
from tests.report import (
    results,
    test_optimize,
    test_partition,
    test_plan_cluster,
    test_roofline,
    test_sharpness,
)

from thorax.benchmark.baseline import compare_runs
from thorax.fpga.bitstreams import find_bitstream
from thorax.fpga.estimate import analyze
from thorax.fpga.workload import describe
from thorax.report.page import write_report
from thorax.results.benchmark import BenchmarkResult
from thorax.results.read import parse_result
from thorax.results.schema import Result

Scheme = Literal["light", "dark"]

ROOT: Final = Path(__file__).parents[2]
FIGURES: Final = sorted((ROOT / "docs" / "figures").glob("*.svg"))
BITSTREAM: Final = "2019R1_RC_FP11_ResNet_SqueezeNet_VGG"
SECTIONS: Final = {
    *("runs", "accuracy", "speed", "energy", "roofline", "compare", "fpga", "roc", "reliability"),
    *("plans", "cluster-plans", "training", "cluster", "sharpness", "samples", "pointing"),
    *("environment", "provenance"),
}

LEAST_CONTRAST: Final = 4.5
"""Of text against what is behind it (WCAG 2.2, success criterion 1.4.3, level AA)."""

CONTRASTS: Final = """
() => {
  const parse = text => {
    const found = (text.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    return found.length < 4 ? [...found, 1] : found;
  };
  const over = (top, below) => [0, 1, 2].map(n => top[3] * top[n] + (1 - top[3]) * below[n]);
  const luminance = rgb => {
    const [r, g, b] = rgb.map(value => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  // What may be behind an element: its colours, and those of a pattern, from the back forwards.
  const behind = element => {
    const line = [];
    for (let one = element; one; one = one.parentElement) line.unshift(one);
    let grounds = [[255, 255, 255]];
    for (const one of line) {
      const style = getComputedStyle(one);
      const plain = parse(style.backgroundColor);
      grounds = grounds.map(ground => over(plain, ground));
      const stripes = (style.backgroundImage.match(/rgba?\\([^)]*\\)/g) || []).map(parse);
      grounds = grounds.concat(stripes.flatMap(s => grounds.map(ground => over(s, ground))));
    }
    return grounds;
  };
  const worst = new Map();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    if (element.closest('style, defs, title')) continue;
    const style = getComputedStyle(element);
    const ink = parse(element.closest('svg') ? style.fill : style.color);
    for (const ground of behind(element)) {
      const ratio = contrast(over(ink, ground), ground);
      const name = `${element.tagName}.${element.getAttribute('class')} ${ink} on ${ground}`;
      if (!(worst.get(name) <= ratio)) worst.set(name, ratio);
    }
  }
  return [...worst.entries()];
}
"""

OUTSIDE: Final = """
() => [...document.querySelectorAll('body *')].filter(one => {
  const box = one.getBoundingClientRect();
  if (!box.width || (box.right <= innerWidth + 1 && box.left >= -1)) return false;
  // What is wider than the page is scrolled within its own frame.
  for (let up = one.parentElement; up; up = up.parentElement)
    if (getComputedStyle(up).overflowX === 'auto') return false;
  return true;
}).map(one => one.tagName + '.' + one.className + ' ' + one.textContent.slice(0, 40))
"""


@dataclass(slots=True)
class Seen:
    """What a browser said of a page, and what it asked for."""

    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is absent: tests/install-peers installs it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with every section."""
    from thorax.fpga.card import program

    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        program("all", BITSTREAM)
        split = test_partition.tell("HETERO:FPGA,CPU", ["FPGA.0", "CPU"])
    overlay = find_bitstream(BITSTREAM).architecture
    now, then = (
        BenchmarkResult.model_validate(run)
        for run in (documents.run(90.0, seed=1), documents.run(seed=2))
    )
    compared = now.model_copy(update={"baseline": compare_runs(now, then, name="then.json")})
    shown: list[Result] = [
        *map(parse_result, results.everything(folder)),
        results.powered(results.benchmark("int8", 230.0, scenario="server"), 214.0, 120.0),
        compared,
        results.benchmark("bf16", 99.0, valid=False, invalid_because=["too few queries"]),
        results.server_plan(),
        test_plan_cluster.planned(),
        results.watched(),
        split,
        analyze("resnet18", describe(resnet18()), overlay),
        test_roofline.measured(),
        test_optimize.compared(),
        diagnosis(4),
        test_sharpness.parsed(test_sharpness.two_runs()),
    ]
    return write_report(shown, folder / "report.html", title="Everything that there is")


def _watch(page: Page) -> Seen:
    seen = Seen()
    page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.said.append(str(error)))
    page.on("request", lambda request: seen.asked.append(request.url))
    return seen


def _open(browser: Browser, path: Path, scheme: Scheme, width: int) -> tuple[Page, Seen]:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = _watch(page)
    page.goto(path.as_uri())
    return page, seen


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_whole_and_legible(
    chromium: Browser, report: Path, tmp_path: Path, scheme: Scheme, width: int
) -> None:
    page, seen = _open(chromium, report, scheme, width)
    assert seen.said == []
    assert [one for one in seen.asked if not one.startswith("data:image/")] == [report.as_uri()]

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []

    sections = page.locator("section")
    names = [sections.nth(n).get_attribute("aria-labelledby") for n in range(sections.count())]
    assert set(names) == SECTIONS
    assert all(sections.nth(n).is_visible() for n in range(sections.count()))
    assert page.evaluate("[...document.images].every(one => one.naturalWidth && one.alt)")
    assert page.evaluate("""[...document.querySelectorAll('table')].every(one =>
        one.caption && one.tHead.rows[0].cells.length === one.tBodies[0].rows[0].cells.length)""")

    contrasts = page.evaluate(CONTRASTS)
    assert len(contrasts) > 10
    assert [one for one in contrasts if one[1] < LEAST_CONTRAST] == []

    shot = tmp_path / "page.png"
    page.screenshot(path=shot)
    pixels = cv2.imread(str(shot))
    assert pixels is not None
    assert pixels.shape[1] == width
    paper = float(np.median(pixels))
    assert paper > 230 if scheme == "light" else paper < 40
    assert pixels.std() > 10
    page.close()


def test_modelled_rows_are_told_apart_by_their_looks(chromium: Browser, report: Path) -> None:
    page, _ = _open(chromium, report, "light", 1200)
    looks = page.evaluate("""
        [...document.querySelectorAll('section[aria-labelledby=runs] tbody tr')].map(row => {
          const style = getComputedStyle(row.cells[1]);
          const modelled = [...row.cells].some(one => one.textContent === 'modelled');
          return [modelled, style.fontStyle, style.backgroundImage.split('(')[0]];
        })""")
    assert {tuple(look) for look in looks} == {
        (False, "normal", "none"),
        (True, "italic", "repeating-linear-gradient"),
    }
    page.close()


def test_the_table_is_downloaded_without_a_network(
    chromium: Browser, report: Path, tmp_path: Path
) -> None:
    page, seen = _open(chromium, report, "light", 1200)
    with page.expect_download() as waiting:
        page.get_by_text("Download the table as CSV").click()
    assert waiting.value.suggested_filename == "runs.csv"
    waiting.value.save_as(tmp_path / "runs.csv")
    lines = (tmp_path / "runs.csv").read_text("utf-8").splitlines()
    assert lines[0].startswith("model,precision,device")
    rows = page.locator("section[aria-labelledby=runs] tbody tr").count()
    assert len(lines) == 1 + rows
    assert seen.said == []
    page.close()


def test_the_page_prints(chromium: Browser, report: Path) -> None:
    page, seen = _open(chromium, report, "dark", 1200)
    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF-")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    contrasts = page.evaluate(CONTRASTS)
    assert [one for one in contrasts if one[1] < LEAST_CONTRAST] == []
    assert seen.said == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_of_the_documentation_is_drawn(chromium: Browser, scheme: Scheme) -> None:
    assert FIGURES
    page = chromium.new_page(color_scheme=scheme)
    seen = _watch(page)
    for figure in FIGURES:
        seen.asked.clear()
        page.goto(figure.as_uri())
        assert page.evaluate("document.documentElement.tagName") == "svg"
        assert page.evaluate("document.querySelector('parsererror')") is None
        assert page.evaluate("document.querySelectorAll('path, text, rect').length") > 10
        assert [one for one in seen.asked if not one.startswith("data:")] == [figure.as_uri()]
        assert seen.said == []
    page.close()
