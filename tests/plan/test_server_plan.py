"""`thorax plan server`: its document, table and picture."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.command import typed

from thorax.errors import UsageError
from thorax.plan.server_plan import cards_in


def test_the_document_has_a_row_for_each_count_and_reading(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture = tmp_path / "r740.svg"
    words = ["plan", "server", "--preset", "r740", "--cards", "0..4", "--images", 1000]
    status, out, _ = typed(capfd, monkeypatch, *words, "--figure", picture, "--json")
    assert status == 0
    document = json.loads(out)
    assert document["command"] == "plan server"
    assert document["modelled"] is True
    rows = document["rows"]
    assert [(row["reading"], row["cards"]) for row in rows] == [
        (reading, cards) for reading in ("additive", "offload") for cards in range(5)
    ]
    drawn = picture.read_text("utf-8")
    assert "modelled" in drawn
    assert "prefers-color-scheme" in drawn


def test_a_load_gives_watts_and_latency_at_that_load_and_says_what_is_too_much(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    picture = tmp_path / "curve.svg"
    words = ["plan", "server", "--rate", 200, "--reading", "offload", "--images", 1000]
    words += ["--latency-limit-ms", 40, "--energy-price", 0.2, "--curve", picture]
    status, out, _ = typed(capfd, monkeypatch, *words, "--json")
    assert status == 0
    document = json.loads(out)
    by_cards = {row["cards"]: row for row in document["rows"]}
    assert by_cards[1]["overloaded"] is True
    assert by_cards[1]["latency_ms"] is None
    assert by_cards[4]["images_per_s"] == 200
    assert by_cards[4]["power_w"] < 147.44 + 4 * 43
    assert by_cards[4]["images_per_s_within_limit"] > 200
    assert by_cards[4]["cost_per_million_images"]["energy"] > 0
    assert by_cards[4]["cost_per_million_images"]["total"] is None
    assert {row["cards"] for row in document["curve"]} == {4}
    assert "p99" in picture.read_text("utf-8")
    status, out, _ = typed(capfd, monkeypatch, *words)
    assert status == 0
    assert "never" in out
    assert max(map(len, out.splitlines())) <= 100


def test_what_runs_of_other_arrivals_differ_by_is_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["plan", "server", "--preset", "r740", "--cards", 1, "--reading", "offload"]
    words += ["--images", 2000, "--latency-limit-ms", 50]

    def row(*more: object) -> dict[str, Any]:
        status, out, _ = typed(capfd, monkeypatch, *words, *more, "--json")
        assert status == 0
        document = json.loads(out)
        (found,) = document["rows"]
        return {"runs": document["runs"], **found}

    spread, alone = row("--runs", 3), [row("--runs", 1, "--seed", seed) for seed in range(3)]
    assert (spread["runs"], alone[0]["runs"]) == (3, 1)
    for key in ("p50", "p99"):
        found = [one["latency_ms"][key] for one in alone]
        assert spread["latency_ms_range"][key] == pytest.approx([min(found), max(found)])
        assert spread["latency_ms"][key] == pytest.approx(sum(found) / 3)
        assert min(found) < max(found)
    rates = [one["images_per_s_within_limit"] for one in alone]
    assert spread["images_per_s_within_limit_range"] == [min(rates), max(rates)]
    assert spread["images_per_s_within_limit"] == pytest.approx(sum(rates) / 3)
    even = row("--arrivals", "constant")
    assert even["runs"] == 1
    assert even["latency_ms_range"]["p99"] == [even["latency_ms"]["p99"]] * 2


def test_a_server_that_was_written_is_read_back_the_same(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    words = ["plan", "server", "--images", 1000, "--cards", 4]
    first = typed(capfd, monkeypatch, *words, "--write-file", file, "--json")
    second = typed(capfd, monkeypatch, *words, "--file", file, "--json")
    assert first[0] == second[0] == 0
    made, again = (json.loads(out) for _, out, _ in (first, second))
    origin = again["sources"].pop(0)
    assert origin == "file: mine.toml: as thorax plan server wrote it"
    assert again == made


def test_an_edited_file_is_told_in_the_title_and_the_sources(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    words = ["plan", "server", "--images", 1000, "--cards", 4, "--preset", "r740-2019"]
    typed(capfd, monkeypatch, *words, "--write-file", file)
    text = file.read_text("utf-8")
    file.write_text(text.replace("images_per_s = 312.75", "images_per_s = 6154.0"), "utf-8")
    read = ["plan", "server", "--images", 1000, "--cards", 4, "--file", file]
    status, out, _ = typed(capfd, monkeypatch, *read, "--json")
    plan = json.loads(out)
    assert status == 0
    assert plan["full_name"].endswith("(mine.toml, edited)")
    assert plan["sources"][0].startswith("file: mine.toml: edited since thorax plan server wrote")
    _, out, _ = typed(capfd, monkeypatch, *read)
    assert "(mine.toml, edited)" in out.splitlines()[0]
    # Which constants were edited nobody knows, so none is published any more.
    for source in plan["sources"][1:]:
        assert source.partition(": ")[2].startswith("given: by mine.toml, which says: ")
    assert "Constants given: " in out
    assert not {"published:", "derived:", "calibrated:"} & set(out.split())
    # What nobody signed is told too.
    file.write_text(text[: text.index("# sha256")], "utf-8")
    _, out, _ = typed(capfd, monkeypatch, *read, "--json")
    assert json.loads(out)["full_name"].endswith("(mine.toml, unsigned)")


def test_a_card_that_was_changed_below_a_right_digest_is_not_published(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    words = ["plan", "server", "--images", 1000, "--cards", 4]
    typed(capfd, monkeypatch, *words, "--preset", "r740-2019", "--write-file", file)
    text = file.read_text("utf-8")
    faster = text.replace("images_per_s = 312.75", "images_per_s = 2000.0")
    assert faster != text
    for name in ("r740-2019", "nameless"):
        above = faster.partition("# sha256")[0].replace('name = "r740-2019"', f'name = "{name}"')
        digest = hashlib.sha256(above.encode()).hexdigest()
        file.write_text(f"{above}# sha256 of all lines above: {digest}\n", "utf-8")
        status, out, _ = typed(capfd, monkeypatch, *words, "--file", file, "--json")
        plan = json.loads(out)
        assert status == 0
        assert plan["full_name"].endswith("(mine.toml, differs from r740-2019)")
        assert plan["sources"][0].startswith(
            "file: mine.toml: differs from r740-2019 in card.steps"
        )
        steps = [source for source in plan["sources"] if source.startswith("card.steps")]
        assert steps
        assert all(": given: by mine.toml, which says: " in source for source in steps)
        _, out, _ = typed(capfd, monkeypatch, *words, "--file", file)
        assert "(mine.toml, differs from r740-2019)" in " ".join(out.split())
        kinds = " ".join(out.split()).partition("Constants published: ")[2].partition("; ")[0]
        assert "card.steps" not in kinds
        # What nobody changed is still as it was published.
        assert "card.power_w" in kinds


def test_a_ratio_that_was_published_of_a_card_is_refused_beside_another(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "mine.toml"
    words = ["plan", "server", "--images", 1000, "--cards", 4]
    typed(capfd, monkeypatch, *words, "--write-file", file)
    text = file.read_text("utf-8")
    assert "images_per_s = 104.92" in text
    faster = text.replace('place = "card", image_s = 0.0, images_per_s = 104.92',
                          'place = "card", image_s = 0.0, images_per_s = 2000.0')  # fmt: skip
    assert faster != text
    file.write_text(faster, "utf-8")
    status, out, err = typed(capfd, monkeypatch, *words, "--file", file)
    assert (status, out) == (2, "")
    assert "104.92 images/s that the speedup is of, not 2000" in err
    assert "cpu.images_per_s" in err


def test_a_changed_constant_is_told_in_the_title(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["plan", "server", "--images", 1000, "--cards", 4, "--set", "cpu.images_per_s=400"]
    _, out, _ = typed(capfd, monkeypatch, *words, "--json")
    assert json.loads(out)["full_name"].endswith("2018, changed by --set")
    status, out, _ = typed(capfd, monkeypatch, *words, "--set", "cpu.images_per_s=400", "--json")
    assert status == 0
    document = json.loads(out)
    assert document["rows"][0]["cpu_images_per_s"] == 400
    assert "cpu.images_per_s: given: --set" in document["sources"]
    assert not [one for one in document["sources"] if one.startswith("speedup")]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--cards", "5"], "plan-cards"),
        (["--preset", "r741"], "plan-preset"),
        (["--preset", "r740", "--file", "x.toml"], "plan-server"),
        (["--arch", "8x48-fp11"], "plan-overlay"),
        (["--model", "x"], "plan-overlay"),
        (["--hardware-price", "10"], "plan-prices"),
        (["--arrivals", "sometimes"], "option-choice"),
        (["--reading", "aloud"], "option-choice"),
        (["--figure", "x.png"], "plot-format"),
        (["--set", "cpu.watts=3"], "config-key"),
        (["--cards", "0..900000000"], "plan-cards-many"),
        (["--cards", "9" * 5000], "plan-cards-many"),
        (["--cards", "0..100"], "plan-cards"),
        (["--rate", "100", "--load", "0.5"], "option-together"),
        (["--rate", "10", "--arrivals", "saturated"], "option-together"),
        (["--load", "0.5", "--arrivals", "saturated"], "option-together"),
        (["--latency-limit-ms", "9", "--arrivals", "saturated"], "option-together"),
        (["--curve", "x.svg", "--arrivals", "saturated"], "option-together"),
        (["--batch", "8"], "plan-overlay"),
        (["--others-ms", "5"], "plan-overlay"),
        (["--figure", "no/such/folder/x.svg"], "output-unwritable"),
        (["--write-file", "no/such/folder/x.toml"], "output-unwritable"),
        (["--set", "cpu.power_w=-3"], "config-value"),
        (["--figure", "x.svg", "--curve", "./x.svg"], "option-together"),
    ],
)
def test_each_mistake_has_its_code(
    words: list[str], code: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = typed(capfd, monkeypatch, "plan", "server", *words)
    assert (status, out) == (2, "")
    assert err.startswith(f"thorax: {code}: ")


def test_what_is_read_is_not_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor = tmp_path / "doctor.json"
    doctor.write_text("{}")
    words = ("plan", "cluster", "--calibrate", doctor, "--write-file", doctor)
    status, out, err = typed(capfd, monkeypatch, *map(str, words))
    assert (status, out) == (2, "")
    assert err.startswith("thorax: output-is-input: ")
    assert doctor.read_text() == "{}"


@pytest.mark.parametrize(
    "option",
    ["--rate", "--energy-price", "--hardware-price", "--card-price", "--years", "--utilization",
     "--latency-limit-ms", "--others-ms", "--load"],
)  # fmt: skip
@pytest.mark.parametrize("value", ["inf", "nan", "1e400"])
def test_what_is_not_finite_is_refused(
    option: str, value: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, err = typed(capfd, monkeypatch, "plan", "server", option, value, "--json")
    assert (status, out) == (2, "")
    assert "bug" not in err


def test_the_table_says_modelled_and_names_both_efficiencies(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = typed(
        capfd, monkeypatch, "plan", "server", "--preset", "r640", "--images", 1000
    )
    assert status == 0
    assert max(map(len, out.splitlines())) <= 100
    for words in ("modelled, not measured", "Server img/s/W", "Marginal img/s/W"):
        assert words in out


@pytest.mark.parametrize(
    ("text", "cards"), [("4", (4,)), ("0,2,4", (0, 2, 4)), ("0..2,1,4", (0, 1, 2, 4))]
)
def test_numbers_of_cards_are_read(text: str, cards: tuple[int, ...]) -> None:
    assert cards_in(text) == cards


@pytest.mark.parametrize("text", ["", "a", "4..", "-1", "3..1", "1.5"])
def test_what_is_no_number_of_cards_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="plan-cards-text"):
        cards_in(text)
