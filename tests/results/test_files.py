"""Documents of strangers: whatever they hold, a report ends in a page or in one line."""

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.report import results as made_up

from thorax.errors import DataError, ThoraxError
from thorax.files.documents import checked_line
from thorax.report.page import write_report
from thorax.results.files import read_results
from thorax.results.schema import Result


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes | str], Path]:
    def write(content: bytes | str) -> Path:
        path = tmp_path / "x.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def _plans() -> list[dict[str, Any]]:
    from tests.report import test_plan_cluster

    return [test_plan_cluster.planned().document(), made_up.server_plan().document()]


@pytest.mark.parametrize("rows", [[], None, {}, [None], [{}], [[]], "rows", 5])
@pytest.mark.parametrize("place", [0, 1])
def test_a_plan_without_rows_is_damaged_and_no_fault_of_the_report(
    tmp_path: Path, place: int, rows: object
) -> None:
    document = {**_plans()[place], "rows": rows}
    (tmp_path / "x.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match="report-damaged"):
        write_report(read_results([tmp_path / "x.json"]), tmp_path / "r.html", title="T")
    assert not (tmp_path / "r.html").exists()


ODD = [
    0,
    -1,
    1e308,
    -1e308,
    5e-324,
    10**40,
    10**400,
    "",
    "x" * 5000,
    None,
    True,
    [],
    {},
    [[]],
    [None],
]
"""What may stand in the place of anything."""


def _places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield where the parts of a document are; of a list the first and the last."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _places(part, (*path, key))
    elif isinstance(value, list):
        for place in sorted({0, len(value) - 1} if value else ()):
            yield from _places(value[place], (*path, place))


def _replaced(document: dict[str, Any], path: tuple[str | int, ...], value: object) -> Any:  # noqa: ANN401
    changed = copy.deepcopy(document)
    parent: Any = changed
    for key in path[:-1]:
        parent = parent[key]
    if value is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return changed


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return [*made_up.everything(tmp_path_factory.mktemp("maps")), *_plans()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("command", "tries"),
    [
        ("train", 4),
        ("optimize", 20),
        ("validate", 3),
        ("benchmark", 8),
        ("classify", 8),
        ("plan cluster", 3),
        ("plan server", 2),
    ],
)
def test_whatever_stands_in_a_document_ends_in_a_page_or_in_one_line(
    everything: list[dict[str, Any]], tmp_path: Path, command: str, tries: int
) -> None:
    choose = random.Random(3)
    documents = [document for document in everything if document["command"] == command]
    for number in range(tries):
        document = documents[number % len(documents)]
        path = choose.choice([path for path in _places(document) if path != ("command",)])
        changed = _replaced(document, path, choose.choice([*ODD, ...]))
        file = tmp_path / "x.json"
        file.write_text(json.dumps(changed))
        try:
            write_report(read_results([file]), tmp_path / "r.html", title="T")
        except ThoraxError as error:
            refused = error
        else:
            continue
        assert refused.exit_code == 3
        assert len(refused.message) < 700


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('{"command": "train", "a":' * 20_000 + "1" + "}" * 20_000, "report-unreadable"),
        ("[" * 200_000, "report-unreadable"),
        ('{"command": "benchmark", "images_per_s": 1e999}', "report-unreadable"),
        ('{"command": "benchmark", "images_per_s": NaN}', "report-unreadable"),
        ('{"command": "benchmark", "images": ' + "9" * 5000 + "}", "report-unreadable"),
        ('{"command": "benchmark"} {"command": "benchmark"}', "report-unreadable"),
        (b'{"command": "\xff"}', "report-unreadable"),
        (b"\x1f\x8b\x08\x00", "report-unreadable"),
        ("", "report-unreadable"),
        ("null", "report-not-a-result"),
        ('{"command": ["benchmark"]}', "report-not-a-result"),
    ],
)
def test_a_text_that_is_no_document_is_refused(
    written: Callable[[bytes | str], Path], content: bytes | str, code: str
) -> None:
    with pytest.raises(DataError) as refused:
        read_results([written(content)])
    assert refused.value.code == code
    assert len(refused.value.message) < 900


def test_a_byte_order_mark_is_no_part_of_a_document(
    written: Callable[[bytes | str], Path],
) -> None:
    document = made_up.benchmark().document()
    (result,) = read_results([written(b"\xef\xbb\xbf" + json.dumps(document).encode())])
    assert result.document() == document


def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path / "none.json", Path("x\0y")):
        with pytest.raises(DataError) as refused:
            read_results([path])
        assert refused.value.code == "report-unreadable"
    # In a folder too.
    with pytest.raises(DataError, match=r"report-unreadable: .*a pipe"):
        read_results([tmp_path])


def test_a_benchmark_that_was_changed_is_on_no_page(
    written: Callable[[bytes | str], Path],
) -> None:
    document = made_up.benchmark().digested().document()
    (result,) = read_results([written(json.dumps(document))])
    assert result.document() == document
    document["images_per_s"] *= 2
    with pytest.raises(DataError, match="baseline-damaged"):
        read_results([written(json.dumps(document))])


def _run(folder: Path, weight_decay: float) -> Path:
    folder.mkdir(parents=True)
    schedule = {"kind": "cosine", "batch": 64, "peak": 0.1}
    start = {"event": "start", "resumed_step": 0, "schedule": schedule, "steps": 1}
    step = {"event": "step", "step": 1, "loss": 0.5, "learning_rate": 0.1}
    epoch = {"event": "epoch", "step": 1, "epoch": 1, "loss": 0.5, "val_mean_auroc": 0.7}
    text = "".join(map(checked_line, (start, step, epoch)))
    (folder / "train.jsonl").write_text(text)
    recipe = f'[optimizer]\nkind = "lars"\nweight_decay = {weight_decay}\n[training]\nbatch = 64\n'
    (folder / "recipe.toml").write_text(recipe)
    return folder


def _names(results: list[Result]) -> list[object]:
    return [result.document()["run"] for result in results]


def test_runs_of_one_name_are_told_apart_with_what_differs_in_them(tmp_path: Path) -> None:
    runs = [_run(tmp_path / f"{value}" / "run", value) for value in (0.0, 0.5)]
    results = read_results(runs)
    assert _names(results) == ["0.0/run", "0.5/run"]
    page = write_report(results, tmp_path / "r.html", title="T").read_text("utf-8")
    for word in ("0.0/run", "0.5/run", "optimizer.kind", "lars", "optimizer.weight_decay"):
        assert word in page
    assert "training.batch" not in page
    # One alone keeps its name, and one that is given twice is one.
    assert _names(read_results(runs[:1])) == ["run"]
    assert _names(read_results([runs[0], runs[0]])) == ["run", "run"]
