"""Networks of Keras 2 that Keras 3 cannot read, by tf_keras, which needs TensorFlow."""

from thorax.ir.imported import Asked, Imported
from thorax.ir.keras_file import KerasFile


def needed(found: KerasFile) -> str | None:
    return None


def read(found: KerasFile, asked: Asked, reason: str) -> Imported:
    raise NotImplementedError
