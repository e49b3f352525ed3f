"""What commands take to start and to classify, against a checkout of an earlier commit, by turns.

`import thorax`, `thorax --help`, `thorax classify` of one PNG, of a folder of them and of one of
DICOM files, with one and the same fp32 ResNet-50. `--help` is to answer within 0.25 s, `import
thorax` within 0.1 s, and classifying is to take no more than 1.02 of what it took.
"""

import tempfile
from pathlib import Path
from typing import Final

from benchmarks.harness.two_commits import TwoCommits
from benchmarks.subjects.images import folder_of
from benchmarks.subjects.make_artifact import make
from thorax.artifact import Precision
from thorax.phantoms import dataset

GOALS_S: Final = {"help": 0.25, "import": 0.1}
GOAL: Final = 1.02
_IMAGES: Final = 64


def main() -> None:
    """Read argv, measure in turns, print and write."""
    two = TwoCommits.from_argv(__doc__)
    thorax = ("-m", "thorax")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (model,) = make(folder, "resnet50", side=224, count=80, precisions=(Precision.FP32,))
        images = folder_of(_IMAGES, folder / "images", None)
        image = next(images.iterdir())
        dataset.write(folder / "one", count=4, side=1024, seed=2, dicom=True)
        dicoms = folder_of(_IMAGES, folder / "dicoms", folder / "one")
        two.compare(
            "command_cost",
            {
                "import": lambda _: ("-c", "import thorax"),
                "help": lambda _: (*thorax, "--help"),
                "classify": lambda _: (*thorax, "classify", str(model), str(image)),
                "classify_folder": lambda _: (*thorax, "classify", str(model), str(images)),
                "classify_dicoms": lambda _: (*thorax, "classify", str(model), str(dicoms)),
            },
            {"goals_s": GOALS_S, "images": _IMAGES},
            dict.fromkeys(("classify", "classify_folder", "classify_dicoms"), GOAL),
        )


if __name__ == "__main__":
    main()
