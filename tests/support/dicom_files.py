"""DICOM files for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid


def write_dicom(path: Path, pixels: np.ndarray[Any, Any], **fields: object) -> Path:
    """A minimal secondary capture of ``pixels``; ``fields`` replace or add."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["mahtrt test"])
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[-2:] if pixels.ndim < 4 else pixels.shape[1:3]
    bits = pixels.dtype.itemsize * 8
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.HighBit = fields.get("HighBit", dataset.BitsStored - 1)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


# A made-up patient, whose name and identifiers a test can look for.
PATIENT = {
    "PatientName": "Zzyzx^Quillan",
    "PatientID": "PID-7781",
    "PatientBirthDate": "19610704",
    "PatientSex": "O",
    "AccessionNumber": "ACC-5512",
    "StudyID": "ST-90",
    "StudyDate": "20190203",
    "StudyTime": "101112",
    "ReferringPhysicianName": "Wren^Octavia",
}


def write_patient_image(path: Path, pixels: np.ndarray[Any, Any], **fields: object) -> Path:
    """An image of :data:`PATIENT` in a study, with identifiers made of the file's name."""
    identifiers = {
        "StudyInstanceUID": generate_uid(entropy_srcs=["mahtrt study"]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=["mahtrt series"]),
        "SOPInstanceUID": generate_uid(entropy_srcs=["mahtrt image", path.name]),
        "Modality": "DX",
        "Manufacturer": "A maker",
    }
    return write_dicom(path, pixels, **{**identifiers, **PATIENT, **fields})
