"""DICOM files that tests read, made by pydicom."""

import io
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import numpy.typing as npt
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from thorax.errors import ImageError
from thorax.images.error_codes import REFUSALS
from thorax.images.radiograph import Limits, Radiograph, read

SECRET = "DOE^SECRET"

NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)


def ramp(bits: int = 12, height: int = 48, width: int = 64) -> npt.NDArray[Any]:
    y, x = np.mgrid[:height, :width]
    values = (np.sin(x / 6) + np.cos(y / 5) + 2) / 4 * (2**bits - 1)
    return np.asarray(values, np.uint8 if bits <= 8 else np.uint16)


def dataset(
    pixels: npt.NDArray[Any], syntax: str = uid.ExplicitVRLittleEndian, **attributes: object
) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = uid.UID(syntax)
    made.SOPClassUID = attributes.pop("SOPClassUID", uid.DigitalXRayImageStorageForPresentation)
    made.SOPInstanceUID = "1.2.3"
    made.PatientName = SECRET
    made.PatientID = SECRET
    made.Modality = "DX"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = 1 if pixels.ndim == 2 else pixels.shape[2]
    made.PhotometricInterpretation = "MONOCHROME2" if pixels.ndim == 2 else "RGB"
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.BitsAllocated = 8 * pixels.dtype.itemsize
    made.BitsStored = attributes.get("BitsStored", made.BitsAllocated)
    made.HighBit = max(0, made.BitsStored - 1)
    made.PixelRepresentation = 1 if pixels.dtype.kind == "i" else 0
    for name, value in attributes.items():
        setattr(made, name, value)
    big = syntax == uid.ExplicitVRBigEndian
    made.PixelData = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    made["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    return made


def written(made: Dataset) -> bytes:
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def dicom(
    pixels: npt.NDArray[Any], syntax: str = uid.ExplicitVRLittleEndian, **more: object
) -> bytes:
    return written(dataset(pixels, syntax, **more))


def wrapped(pixels: npt.NDArray[Any], syntax: str, frame: bytes, **more: object) -> bytes:
    made = dataset(pixels, syntax, **more)
    made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return written(made)


def encoded_by_gdcm(data: bytes, name: str, folder: Path) -> bytes:
    """Return a file in another transfer syntax, named as GDCM names it."""
    plain, path = folder / "plain.dcm", folder / "encoded.dcm"
    plain.write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetFileName(str(path))
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path.read_bytes()


def item(**attributes: object) -> list[Dataset]:
    made = Dataset()
    for name, value in attributes.items():
        if name == "LUTData":
            made.add_new(name, "US", value)
        else:
            setattr(made, name, value)
    return [made]


def refusal(data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(ImageError) as caught:
        read(data, limits=limits or Limits())
    assert caught.value.code in REFUSALS
    assert "SECRET" not in caught.value.message
    return caught.value.code


def shown(data: bytes) -> npt.NDArray[np.float32]:
    return read(data).pixels


def warned(radiograph: Radiograph) -> list[str]:
    return [warning.code for warning in radiograph.meaning.warnings]
