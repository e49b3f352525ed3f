"""Every DICOM image of folders of test files, beside what dcmtk and pydicom make of it.

Most test files of readers are no radiographs: each is read under the SOP class and the modality of
one, which changes no pixel. What is compared is what is shown, 0-1: with dcmtk's `dcm2pnm`, and
with pydicom's grey-scale functions on pixels that another program decoded (dcmtk, or GDCM for JPEG
2000). Every file agrees with one of them within 2/255, or is refused by a code.
"""

import argparse
import subprocess
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from pydicom import Dataset, config, dcmread, uid
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from benchmarks.harness import result
from thorax.errors import ImageError
from thorax.images.radiograph import Radiograph, read

TOLERANCE: Final = 2 / 255
_TOOLS: Final = {
    **dict.fromkeys((uid.RLELossless,), "dcmdrle"),
    **dict.fromkeys((uid.JPEGLSLossless, uid.JPEGLSNearLossless), "dcmdjpls"),
    **dict.fromkeys(
        (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1),
        "dcmdjpeg",
    ),
}
Grey = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a file.

    `answer` is "agrees", "differs", "refused", "alone" where nobody else reads it, or "told" where
    a window that shows nothing was passed over, with a warning, as others do not; of each other
    reader the largest difference, None where it does not read the file.
    """

    file: str
    answer: str
    code: str = ""
    warnings: tuple[str, ...] = ()
    dcmtk: float | None = None
    pydicom: float | None = None


def main() -> None:
    """Read argv, read every file, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=result.filled_folder)
    chosen = result.parse_args(parser)
    config.settings.reading_validation_mode = config.IGNORE
    rows: dict[str, list[Row]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for folder in chosen.folders:
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            found = (compared(path, Path(scratch)) for path in files)
            rows[folder.name] = [row for row in found if row is not None]
    answers = ("agrees", "told", "alone", "refused", "differs")
    counts = {name: Counter(row.answer for row in each) for name, each in rows.items()}
    result.table(
        "DICOM images of other readers' test files",
        ("Files of", *answers),
        [(name, *(str(count[answer]) for answer in answers)) for name, count in counts.items()],
    )
    for name, each in rows.items():
        for row in each:
            if row.answer != "agrees":
                print(f"{name}: {row.file}: {row.answer} {row.code} {row.dcmtk} {row.pydicom}")
    document = {
        "tolerance": TOLERANCE,
        "counts": {name: dict(count) for name, count in counts.items()},
        "files": {name: [asdict(row) for row in each] for name, each in rows.items()},
    }
    print("written:", result.write("dicom_readers", document, rehearsal=chosen.rehearsal))


def compared(path: Path, scratch: Path) -> Row | None:
    """Return what became of a file; None of one that is no image of one frame."""
    try:
        dataset = dcmread(path, force=True)
        image = "PixelData" in dataset and int(dataset.get("NumberOfFrames") or 1) == 1
    except Exception:
        return None
    if not image:
        return None
    relabelled = scratch / "relabelled.dcm"
    try:
        radiograph = read(_as_radiograph(path, dataset, relabelled))
    except ImageError as error:
        return Row(path.name, "refused", error.code)
    dcmtk, pydicom = _of_dcmtk(relabelled, scratch), _of_pydicom(relabelled, scratch)
    apart = [None if other is None else _apart(radiograph, other) for other in (dcmtk, pydicom)]
    known = [difference for difference in apart if difference is not None]
    codes = tuple(warning.code for warning in radiograph.meaning.warnings)
    if not known:
        answer = "alone"
    elif min(known) <= TOLERANCE:
        answer = "agrees"
    else:
        answer = "told" if "dicom-window-unusable" in codes else "differs"
    return Row(path.name, answer, "", codes, *apart)


def _as_radiograph(path: Path, dataset: Dataset, out: Path) -> Path:
    """Write a file under the SOP class of a radiograph; one that pydicom cannot write stays."""
    dataset.SOPClassUID = uid.ComputedRadiographyImageStorage
    dataset.Modality = "CR"
    for keyword in ("PresentationIntentType", "PixelSpacing", "PixelAspectRatio"):
        if keyword in dataset:
            del dataset[keyword]
    try:
        dataset.save_as(out, enforce_file_format=False)
    except Exception:
        out.write_bytes(path.read_bytes())
    return out


def _of_dcmtk(path: Path, scratch: Path) -> Grey | None:
    dataset = dcmread(path, force=True)
    if "VOILUTSequence" in dataset and dataset.VOILUTSequence:
        shown = ["+Wl", "1"]
    elif "WindowWidth" in dataset:
        shown = ["+Wi", "1"]
    else:
        shown = [] if dataset.get("BitsStored") == 8 else ["+Wm"]
    out = scratch / "shown.pgm"
    out.unlink(missing_ok=True)
    _run("dcm2pnm", *shown, "+G", "--write-16-bit-pnm", str(path), str(out))
    pixels = cv2.imread(str(out), cv2.IMREAD_UNCHANGED) if out.is_file() else None
    if pixels is None:
        return None
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return np.asarray(grey, np.float64) / (255 if pixels.dtype == np.uint8 else 65535)


def _of_pydicom(path: Path, scratch: Path) -> Grey | None:
    try:
        dataset = dcmread(_decompressed(path, scratch), force=True)
        pixels = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            return None
        if pixels.ndim == 3:
            colour = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
            return np.asarray(colour, np.float64) / np.iinfo(pixels.dtype).max
        return _shown(pixels, dataset)
    except Exception:
        return None


def _decompressed(path: Path, scratch: Path) -> Path:
    meta = getattr(dcmread(path, force=True, stop_before_pixels=True), "file_meta", Dataset())
    tool = _TOOLS.get(meta.get("TransferSyntaxUID"))
    compressed = getattr(meta.get("TransferSyntaxUID"), "is_compressed", False)
    if not compressed:
        return path
    out = scratch / "plain.dcm"
    out.unlink(missing_ok=True)
    if tool is None:
        _run("gdcmconv", "--raw", str(path), str(out))
    else:
        _run(tool, str(path), str(out))
    return out


def _shown(pixels: npt.NDArray[Any], dataset: Dataset) -> Grey:
    """Return stored values as pydicom shows them, 0-1."""
    values = np.asarray(apply_modality_lut(pixels, dataset), np.float64)
    has_voi = bool(dataset.get("VOILUTSequence")) or "WindowWidth" in dataset
    if has_voi:
        inputs = apply_modality_lut(pixels, dataset)
        levels = np.asarray(apply_voi_lut(inputs, dataset), np.float64)
        low, high = _ends(dataset)
    else:
        levels = values
        eight = dataset.BitsStored == 8 and "ModalityLUTSequence" not in dataset
        # Padding is no part of the range (PS3.3 C.7.5.1.1.2).
        image = values[pixels != dataset.get("PixelPaddingValue")]
        low, high = (0.0, 255.0) if eight else (image.min(), image.max())
        if eight:
            levels = np.asarray(pixels, np.float64) + 128 * int(dataset.PixelRepresentation)
            if float(dataset.get("RescaleSlope") or 1) < 0:
                levels = 255 - levels
    grey = np.clip((levels - low) / ((high - low) or 1), 0, 1)
    inverse = dataset.get("PresentationLUTShape") == "INVERSE"
    return 1 - grey if inverse or dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def _ends(dataset: Dataset) -> tuple[float, float]:
    """Return what pydicom makes black and white: the ends of all values that there can be."""
    if dataset.get("VOILUTSequence"):
        return 0.0, 2.0 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
    bits, signed = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    if "ModalityLUTSequence" in dataset:
        return 0.0, 2.0 ** int(dataset.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    low, high = (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if signed else (0.0, 2.0**bits - 1)
    slope = float(dataset.get("RescaleSlope") or 1)
    intercept = float(dataset.get("RescaleIntercept") or 0)
    return low * slope + intercept, high * slope + intercept


def _apart(radiograph: Radiograph, other: Grey) -> float:
    """Return the largest difference, of the way up that is most alike."""
    ours = np.asarray(radiograph.pixels, np.float64)
    ways = [np.rot90(way, turns) for way in (other, other.T) for turns in range(4)]
    alike = [float(np.abs(ours - way).max()) for way in ways if way.shape == ours.shape]
    return min(alike, default=1.0)


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, timeout=60, check=False)


if __name__ == "__main__":
    main()
