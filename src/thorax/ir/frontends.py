"""Formats that OpenVINO's own frontends read."""

from pathlib import Path
from typing import Final

from openvino.frontend import FrontEndManager

from thorax.errors import ModelError
from thorax.ir.imported import UNREADABLE, Asked, Imported, Layout, unreadable

_FRONTENDS: Final[dict[str, tuple[str, Layout]]] = {
    ".onnx": ("onnx", "NCHW"),
}
"""By ending: OpenVINO's name of the frontend, and the layout that its framework takes images in."""


def read(path: Path, asked: Asked) -> Imported:
    """Read a file with the frontend of its format, and with no other.

    Raises:
        ModelError: `model-unreadable`.
    """
    name, layout = _FRONTENDS[path.suffix.lower()]
    # Only this frontend: `Core.read_model` lets each in turn guess, and some complain aloud.
    frontend = FrontEndManager().load_by_framework(name)
    try:
        model = frontend.convert(frontend.load(str(path)))
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    if not model.inputs or not model.outputs:
        raise ModelError("model-unreadable", f"{path.name} holds no network")
    return Imported(model, name, layout, (path,))
