"""Archives in one process, and what is refused before Ray is asked. With Ray: test_ray_driver."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.conftest import BITSTREAM, Thorax

from thorax.artifact import Artifact
from thorax.data.store import Store
from thorax.errors import PeerError, UsageError
from thorax.inference import ray_process
from thorax.inference.archive import ArchiveOptions, classify_archive
from thorax.inference.classify import ClassifyOptions, classify
from thorax.report.findings import findings_tables
from thorax.results.findings import ClassifyResult, Findings
from thorax.results.shared import Engine


def _answered(result: ClassifyResult) -> int:
    """Return how many images a run answered with findings."""
    assert result.images_per_s is not None
    return round(result.images_per_s * result.window_s)


@pytest.fixture(scope="module")
def inputs(
    phantoms: Path, tiny_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    """Ten files, one of them a web page, and a store."""
    folder = tmp_path_factory.mktemp("archive")
    for path in sorted(phantoms.glob("*.png"))[:9]:
        (folder / path.name).symlink_to(path)
    (folder / "web.dcm").write_text("<html></html>")
    return [folder, tiny_store.path]


def test_the_answers_are_those_of_a_run_without_shards_bit_for_bit(
    tiny_fp32: Artifact, inputs: list[Path], tmp_path: Path
) -> None:
    plain = classify(tiny_fp32.path, inputs, ClassifyOptions(csv=tmp_path / "plain.csv"))
    assert plain.images == 10 + 64
    seen = 0

    def count(images: int) -> None:
        nonlocal seen
        seen += images

    out = tmp_path / "out"
    done = classify_archive(
        tiny_fp32.path,
        inputs,
        out,
        ArchiveOptions(shard_size=16, csv=tmp_path / "all.csv"),
        on_progress=count,
    )
    assert done.results == plain.results
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    lines = (out / "results.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == plain.document()["results"]
    assert (seen, done.images, done.failed, _answered(done)) == (74, 74, 1, 73)
    assert done.cluster is not None
    assert done.cluster.shards == 5
    assert set(done.document()) == set(plain.document())
    assert (done.tuned, done.batch) == (None, 1)
    assert "one thread" in done.tuned_because


def test_a_run_that_was_stopped_does_what_is_missing(
    tiny_fp32: Artifact, inputs: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    answered = 0

    def stop(images: int) -> None:
        nonlocal answered
        answered += images
        if answered == 40:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classify_archive(
            tiny_fp32.path, inputs, out, ArchiveOptions(shard_size=16), on_progress=stop
        )
    assert not (out / "results.jsonl").exists()
    done = classify_archive(tiny_fp32.path, inputs, out, ArchiveOptions(shard_size=16))
    assert done.cluster is not None
    assert done.cluster.shards_resumed == 2
    assert done.results == classify(tiny_fp32.path, inputs).results
    assert _answered(done) == 74 - 32
    again = classify_archive(
        tiny_fp32.path, inputs, out, ArchiveOptions(shard_size=16, keep_all=False)
    )
    assert (again.images_per_s, again.results) == (None, done.results)


def test_the_document_has_the_first_hundred_unless_all_are_asked_for(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path
) -> None:
    done = classify_archive(
        tiny_fp32.path, [phantoms, phantoms], tmp_path / "out", ArchiveOptions(keep_all=False)
    )
    assert (done.images, len(done.results)) == (128, 100)
    table, *_ = findings_tables(done)
    assert f"{tmp_path / 'out/results.jsonl'} has all" in table.note


def test_the_command_goes_on_and_says_so(
    thorax: Thorax, tiny_fp32: Artifact, inputs: list[Path], tmp_path: Path
) -> None:
    words = ["classify", tiny_fp32.path, *inputs, "--out", tmp_path / "out", "--shard-size", 30]
    first = thorax(*words, "--json")
    again = thorax(*words, "--json")
    assert first.returncode == again.returncode == 3
    assert json.loads(first.stdout)["results"] == json.loads(again.stdout)["results"]
    assert json.loads(again.stdout)["cluster"]["shards_resumed"] == 3
    other = thorax(*words[:-1], 31)
    assert other.returncode == 2
    assert other.stderr.startswith("thorax: archive-other: ")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--cluster", "auto"], "option-together: --cluster needs --out"),
        (["--shard-size", "8"], "option-together: --shard-size needs --out"),
        (["--out", "x", "--actors", "2"], "option-together: --actors needs --cluster"),
        (["--out", "x", "--threads-per-actor", "2"], "option-together: --threads-per-actor"),
        (["--out", "x", "-pc"], "option-apart: --out and -pc"),
        (["--out", "x", "--cluster", "auto", "--heatmaps", "m"], "option-apart: --out and --heatm"),
        (["--out", "x", "--async", "2"], "option-apart: --out and --async"),
        (["--out", "x", "--tuned"], "option-apart: --tuned and --out"),
        (["--async", "2", "--tuned"], "option-apart: --tuned and --async"),
        (["--out", "x", "--cluster", "ray://head:10001"], "cluster-address: "),
        (["--out", "x", "--cluster", "head:99999"], "cluster-address: "),
        (["--out", "x", "--cluster", "auto", "-d", "MULTI:FPGA.0,CPU"], "cluster-device: "),
    ],
)
def test_what_a_cluster_does_not_do_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from thorax.cli import app

    monkeypatch.chdir(tmp_path)
    assert app._run(["classify", "model", "scans", *words], debug=False) == 2
    assert capsys.readouterr().err.startswith(f"thorax: {code}")
    assert not list(tmp_path.iterdir())


def test_without_ray_the_extra_that_brings_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from thorax.cli import app

    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["classify", "model", "scans", "--out", str(tmp_path), "--cluster", "auto"]
    assert app._run(words, debug=False) == 2
    assert "thorax[cluster]" in capsys.readouterr().err


def test_a_host_that_does_not_answer_is_told_at_once(tiny_fp32: Artifact, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(PeerError, match=r"cluster-unreachable: .*Connection refused"):
        classify_archive(
            tiny_fp32.path,
            [tmp_path],
            tmp_path / "out",
            ArchiveOptions(cluster=f"127.0.0.1:{port}"),
        )


def test_a_host_that_is_not_ray_is_told_within_a_time(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(ray_process, "_CONNECT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(PeerError, match=r"cluster-unreachable: .*not answer as Ray"):
            classify_archive(
                tiny_fp32.path, [phantoms], tmp_path / "out", ArchiveOptions(cluster=address)
            )


def test_nothing_of_the_folder_it_is_typed_in_is_run_and_a_dead_driver_is_told(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    (tmp_path / "driver_here.py").write_text("open('mark', 'w').write('run')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ray_process, "_DRIVER", "driver_here")
    before = set(Path("/tmp").glob("ray-thorax-*"))
    made: list[str] = []
    mkdtemp = tempfile.mkdtemp

    def note(**options: str) -> str:
        made.append(mkdtemp(**options))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", note)
    # A list of shards longer than a pipe: who writes it notices that nobody reads.
    files = [sorted(phantoms.glob("*.png"))[0]] * 6000
    with pytest.raises(PeerError, match="cluster-failed"):
        classify_archive(
            tiny_fp32.path, files, tmp_path / "out", ArchiveOptions(cluster="auto", shard_size=1)
        )
    assert not (tmp_path / "mark").exists()
    assert made
    assert Path(made[0]) not in before
    assert not Path(made[0]).exists()


def test_what_a_killed_ray_left_running_is_killed_and_other_processes_are_not(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "ray-thorax-1"
    folder.mkdir()
    wait = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    own = {**os.environ, "THORAX_RAY": str(folder)}
    with (
        subprocess.Popen([*wait, f"--temp-dir={folder}"], stdin=subprocess.PIPE) as agent,
        subprocess.Popen(wait, stdin=subprocess.PIPE, env=own) as worker,
        subprocess.Popen(wait, stdin=subprocess.PIPE) as other,
    ):
        ray_process._clear(folder)
        assert [agent.wait(), worker.wait()] == [-signal.SIGKILL] * 2
        assert other.poll() is None
        other.communicate()
    assert other.returncode == 0
    assert not folder.exists()


def test_an_archive_may_be_answered_by_simulated_cards(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, cards: Path
) -> None:
    device = "MULTI:FPGA.0,CPU"
    plain = classify(
        tiny_fp32.path, sorted(phantoms.glob("*.png"))[:2], ClassifyOptions(device=device)
    )
    files = sorted(phantoms.glob("*.png"))[:2]
    done = classify_archive(tiny_fp32.path, files, tmp_path / "out", ArchiveOptions(device=device))
    engines = [
        {name: getattr(result, name) for name in Engine.model_fields} for result in (plain, done)
    ]
    assert engines[0] == engines[1]
    assert done.modelled is not None
    assert done.simulated
    assert {(row.compute, row.simulated) for row in done.results} == {("fp11+f32", True)}


def test_a_card_that_is_programmed_anew_ends_a_run_and_refuses_the_next(
    tiny_fp32: Artifact, phantoms: Path, tmp_path: Path, cards: Path
) -> None:
    from thorax.fpga.card import program

    first, other = BITSTREAM, "2-0-1_RC_FP16_Generic"
    files, device = sorted(phantoms.glob("*.png"))[:4], "HETERO:FPGA.0,CPU"
    answered = 0

    def run() -> tuple[Findings, ...]:
        return classify_archive(
            tiny_fp32.path,
            files,
            tmp_path / "out",
            ArchiveOptions(device=device, shard_size=2),
            on_progress=count,
        ).results

    def count(images: int) -> None:
        nonlocal answered
        answered += images
        if answered == 3:
            program("FPGA.0", other)

    with pytest.raises(UsageError) as caught:
        run()
    assert caught.value.code == "archive-other"
    assert "FPGA.0 was programmed anew during the run" in caught.value.message
    assert sorted(path.name for path in (tmp_path / "out/shards").iterdir()) == ["000000.jsonl"]
    with pytest.raises(UsageError, match=r"what a card computes with \(FPGA.0: .*fp11.*fp16"):
        run()
    program("FPGA.0", first)
    assert {row.compute for row in run()} == {"fp11+f32"}


def test_a_store_of_another_size_is_refused(
    tiny_fp32: Artifact, tiny_store: Store, tmp_path: Path
) -> None:
    from thorax.data import folder, store
    from thorax.images.preprocess import InputSpec
    from thorax.labels import NIH14

    source = tiny_store.path.parent / "phantoms"
    rows = list(folder.rows(source, labels=source / "labels.csv"))[:2]
    store.write(rows, tmp_path / "large", InputSpec(64), NIH14, splits=["train"] * 2, workers=1)
    with pytest.raises(UsageError, match="store-side"):
        classify(tiny_fp32.path, [tmp_path / "large"])
    with pytest.raises(UsageError, match="store-side"):
        classify_archive(tiny_fp32.path, [tmp_path / "large"], tmp_path / "out")
    assert not (tmp_path / "out").exists()
