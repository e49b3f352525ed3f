"""The process has one core, which a reading child gets without all that devices are."""

import subprocess
import sys

from thorax.devices.process_core import open_core


def test_there_is_one() -> None:
    assert open_core() is open_core()


def test_a_child_that_reads_models_imports_no_cards_and_no_artifacts() -> None:
    script = (
        "import sys; import thorax.importers.reader\n"
        "heavy = {'thorax.fpga.card', 'thorax.artifact', 'pydantic', 'cv2', 'torch'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
