"""Synthetic DICOM series: a phantom's voxels, cut into images as a scanner would."""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from dlb_core.dicom.headers import MR_IMAGE

AXIAL = ((1, 0, 0), (0, 1, 0))
CORONAL = ((1, 0, 0), (0, 0, -1))
SAGITTAL = ((0, 1, 0), (0, 0, -1))
OBLIQUE = ((0.9848078, 0.1736482, 0), (-0.1631759, 0.9254166, -0.3420201))
"""Direction of a row and of a column, LPS."""

FLAIR = {
    "SeriesDescription": "t2 FLAIR sag",
    "ScanningSequence": ["SE", "IR"],
    "EchoTime": 120.0,
    "RepetitionTime": 9000.0,
    "InversionTime": 2500.0,
}
T1W = {
    "SeriesDescription": "t1_mprage",
    "ScanningSequence": ["GR", "IR"],
    "EchoTime": 2.9,
    "RepetitionTime": 2300.0,
    "InversionTime": 900.0,
    "MRAcquisitionType": "3D",
}
SHAPE = (24, 20, 14)
"""Columns, rows, images."""
SPACING = (6.0, 7.0, 9.0)
"""mm between columns, rows and images."""
PATIENT = "Doe^Jane"
PATIENT_ID = "MRN-4711"
STUDY = generate_uid(entropy_srcs=["study"])
FRAME = generate_uid(entropy_srcs=["frame"])


def phantom(shape: tuple[int, int, int] = SHAPE, *, seed: int = 0) -> np.ndarray:
    """Values that are all different enough for a turned or shifted image to be noticed."""
    return np.random.default_rng(seed).integers(1, 2000, shape).astype(np.int16)


def series(
    number: int,
    *,
    data: np.ndarray | None = None,
    directions: Sequence[Sequence[float]] = AXIAL,
    backwards: bool = False,
    spacing: tuple[float, float, float] = SPACING,
    **headers: Any,
) -> list[FileDataset]:
    """Images of one series, instance numbers from 1.

    Parameters
    ----------
    number : int
        Series number; series of one number have one UID.
    data : (columns, rows, images), optional
    directions : pair of vectors
        Direction of a row and of a column, LPS.
    backwards : bool
        Whether the images run against the normal.
    **headers
        Replace or add attributes; None removes one.
    """
    data = phantom() if data is None else data
    row, column = (np.array(direction, dtype=float) for direction in directions)
    normal = np.cross(row, column) * (-1 if backwards else 1)
    extent = np.array(data.shape) * spacing
    origin = -(row * extent[0] + column * extent[1] + normal * extent[2]) / 2
    return [
        _image(number, at, data[:, :, at].T, headers)
        | {
            "ImagePositionPatient": _rounded(origin + normal * spacing[2] * at),
            "ImageOrientationPatient": _rounded(np.concatenate([row, column])),
            "PixelSpacing": [spacing[1], spacing[0]],
            "SliceThickness": spacing[2],
        }
        for at in range(data.shape[2])
    ]


class _Image(FileDataset):
    """A dataset that takes more attributes by `|`."""

    def __or__(self, more: dict[str, Any]) -> "_Image":
        for keyword, value in more.items():
            if value is None:
                self.pop(keyword, None)
            else:
                setattr(self, keyword, value)
        return self


def _image(number: int, at: int, pixels: np.ndarray, headers: dict[str, Any]) -> _Image:
    uid = generate_uid(entropy_srcs=["image", str(number), str(at)])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MR_IMAGE
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = _Image("", {}, file_meta=meta, preamble=b"\0" * 128)
    return image | {
        "SOPClassUID": MR_IMAGE,
        "SOPInstanceUID": uid,
        "StudyInstanceUID": STUDY,
        "SeriesInstanceUID": generate_uid(entropy_srcs=["series", str(number)]),
        "FrameOfReferenceUID": FRAME,
        "Modality": "MR",
        "Manufacturer": "SIEMENS",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
        "PatientName": PATIENT,
        "PatientID": PATIENT_ID,
        "PatientBirthDate": "19800102",
        "PatientSex": "F",
        "StudyDate": "20240506",
        "StudyTime": "101112",
        "StudyID": "77",
        "AccessionNumber": "ACC1",
        "ReferringPhysicianName": "House^Gregory",
        "SeriesNumber": number,
        "InstanceNumber": at + 1,
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "PixelData": np.ascontiguousarray(pixels, dtype="<i2").tobytes(),
        **headers,
    }


def t1w(number: int = 2, **changes: Any) -> list[FileDataset]:
    """A T1w series."""
    return series(number, **(T1W | changes))


def flair(number: int = 3, **changes: Any) -> list[FileDataset]:
    """A FLAIR series."""
    return series(number, **(FLAIR | changes))


def write(images: Iterable[pydicom.Dataset], folder: Path) -> list[Path]:
    """Write each image to a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for image in images:
        path = folder / f"IM{len(list(folder.iterdir())):04d}"
        image.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def archive(images: Iterable[pydicom.Dataset], path: Path) -> Path:
    """Write images into one zip, in folders named as PACS name them: by the patient."""
    files = write(images, path.with_suffix(".files"))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in files:
            zipped.write(file, f"Doe_Jane_MRN-4711/{file.name}")
    return path


def _rounded(numbers: np.ndarray) -> list[float]:
    """As scanners write them: a few decimals, within a DS's 16 characters."""
    return [round(float(number), 6) for number in numbers]
