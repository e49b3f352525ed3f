"""A folder of one's own, as docs/data.md imports it, on real radiographs of children."""

import csv
import re
import subprocess
import sys
from pathlib import Path

import pytest

from thorax.data.store import Store, open_store
from thorax.evaluate.baselines import baselines

DOCS = Path(__file__).parents[2] / "docs" / "data.md"
EVERY = 6


@pytest.fixture(scope="module")
def children(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A part of the images in their published folders, imported by the lines of the page."""
    work = tmp_path_factory.mktemp("kermany")
    with (realdata / "kermany" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[::EVERY]
    for row in rows:
        kind = "PNEUMONIA" if row["pneumonia"] == "1" else "NORMAL"
        folder = work / "chest_xray" / row["official_split"] / kind
        folder.mkdir(parents=True, exist_ok=True)
        content = (realdata / "kermany" / row["image"]).read_bytes()
        (folder / row["image"]).write_bytes(content)
    (block,) = re.findall(r"<!-- kermany -->\s+```sh\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    table, command = block.split("thorax ", 2)[:2]
    subprocess.run(["sh", "-ec", table], cwd=work, check=True)
    subprocess.run(
        [sys.executable, "-m", "thorax", *command.split()],
        cwd=work,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return open_store(work / "children")


@pytest.mark.realdata
def test_labels_and_patients_are_those_of_the_names(realdata: Path, children: Store) -> None:
    with (realdata / "kermany" / "labels.csv").open(newline="") as file:
        truth = {row["image"]: row for row in csv.DictReader(file)}
    assert children.label_set.findings == ("pneumonia", "bacterial")
    assert len(children) == len(range(0, len(truth), EVERY))
    for name, patient, labels in zip(
        children.names, children.patients, children.labels.tolist(), strict=True
    ):
        row = truth[Path(name).name]
        sick = row["pneumonia"] == "1"
        assert patient == row["patient"]
        assert labels == [int(sick), int(row["bacterial"]) if sick else -1]


@pytest.mark.realdata
def test_pneumonia_needs_no_network_and_its_images_were_collected_apart(children: Store) -> None:
    result = baselines(children, samples=100)
    models = {model.name: model for model in result.models}
    sick = (children.labels[children.select("test"), 0] == 1).sum()
    area = models["block_deviations"].auroc["pneumonia"]
    masked = models["block_deviations"].auroc["bacterial"]
    assert (area.positives, masked.images) == (sick, sick)
    assert area.value is not None
    assert area.value > 0.9
    assert masked.value is not None
    assert 0.6 < masked.value < area.value
    for name in ("border", "order"):
        value = models[name].auroc["pneumonia"].value
        assert value is not None
        assert value > 0.85
