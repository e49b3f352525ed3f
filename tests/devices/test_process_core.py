"""The process has one core, which a reading child gets without all that devices are."""

import subprocess
import sys

from thorax.devices.process_core import open_core


def test_there_is_one() -> None:
    assert open_core() is open_core()


def test_a_child_that_reads_models_imports_no_cards_and_no_artifacts() -> None:
    script = (
        "import sys; import thorax.importers.reader_child\n"
        "heavy = {'thorax.fpga.card', 'thorax.artifact', 'pydantic', 'cv2', 'torch'}\n"
        "sys.exit(' '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_tables_of_numpy_are_filled_before_threads_need_them() -> None:
    script = (
        "import threading; import numpy as np, openvino as ov\n"
        "from thorax.devices.process_core import open_core\n"
        "import openvino.opset13 as ops\n"
        "x = ops.parameter([1, 8], np.float32)\n"
        "model = open_core().compile_model(ov.Model([ops.relu(x)], [x]), 'CPU')\n"
        "seen = []\n"
        "queue = ov.AsyncInferQueue(model, 4)\n"
        "queue.set_callback(lambda r, _: seen.append(r.get_output_tensor(0).data.copy()))\n"
        "for _ in range(64): queue.start_async([np.ones((1, 8), np.float32)])\n"
        "queue.wait_all(); assert len(seen) == 64\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
