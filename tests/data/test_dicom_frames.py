"""Files of several frames: each an image of its own, with what its functional groups say."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import write_dicom
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID, JPEG2000Lossless, JPEGLSLossless, RLELossless

from mahtrt.data.datasets import open_dataset
from mahtrt.data.frames import frame_stem, split_frame
from mahtrt.data.images import read_image
from mahtrt.errors import ImageError

FRAMES = np.random.default_rng(3).integers(0, 4096, (3, 32, 40)).astype(np.uint16)
FIELDS: dict[str, object] = {
    "NumberOfFrames": 3,
    "BitsStored": 12,
    "WindowCenter": 2000,
    "WindowWidth": 3000,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Three frames, uncompressed."""
    return write_dicom(tmp_path / "run.dcm", FRAMES, **FIELDS)


def single(tmp_path: Path, index: int) -> np.ndarray[Any, Any]:
    """What a file with only that frame gives."""
    fields = {**FIELDS, "NumberOfFrames": 1}
    return read_image(write_dicom(tmp_path / "one.dcm", FRAMES[index], **fields)).pixels


def test_each_frame_is_what_a_file_of_its_own_gives(run: Path, tmp_path: Path) -> None:
    for index in range(3):
        found = read_image(Path(f"{run}#{index + 1}"))
        assert np.array_equal(found.pixels, single(tmp_path, index))
        assert found.dicom is not None
        assert (found.dicom.frame, found.dicom.frames) == (index + 1, 3)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("offsets", ["none", "basic", "extended", "fragments"])
def test_compressed_frames(syntax: UID, offsets: str, run: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(run)
    frames = [get_encoder(syntax).encode(dataset, index=index) for index in range(3)]
    if syntax == RLELossless and offsets == "fragments":
        pytest.skip("a frame of run lengths is one fragment (PS3.5 G)")
    if offsets == "extended":
        packed = encapsulate_extended(frames)
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = packed
    else:
        pieces = 2 if offsets == "fragments" else 1
        dataset.PixelData = encapsulate(frames, pieces, has_bot=offsets != "none")
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "packed.dcm")
    for index in range(3):
        found = read_image(tmp_path / f"packed.dcm#{index + 1}")
        assert np.array_equal(found.pixels, single(tmp_path, index))


def test_a_frame_has_to_be_named_and_to_be_there(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"got 3 frames; .* Name a frame, .*: FILE#1\."):
        read_image(run)
    with pytest.raises(ImageError, match="got frame 4; expected a frame from 1 to 3"):
        read_image(Path(f"{run}#4"))
    one = write_dicom(tmp_path / "one.dcm", FRAMES[0], BitsStored=12)
    assert read_image(Path(f"{one}#1")).pixels.shape == (32, 40)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ImageError, match="no DICOM"):
        read_image(tmp_path / "a.png#1")


@pytest.mark.parametrize("frames", [-3, 10_001, 2_000_000_000])
def test_numbers_of_frames_that_cannot_be(frames: int, run: Path) -> None:
    dataset = pydicom.dcmread(run)
    dataset.NumberOfFrames = frames
    dataset.save_as(run)
    with pytest.raises(ImageError, match="frames"):
        read_image(Path(f"{run}#1"))
    with pytest.raises(ImageError, match="frames"):
        open_dataset(run.parent)[0]


def test_more_frames_than_there_are_pixels(run: Path) -> None:
    dataset = pydicom.dcmread(run)
    dataset.NumberOfFrames = 4
    dataset.save_as(run)
    told = "got 7680 bytes of pixel data; expected 10240 for 4 frames of 40x32 pixels with 1 x 16"
    with pytest.raises(ImageError, match=told):
        read_image(Path(f"{run}#1"))


def test_a_file_may_be_named_like_a_frame(run: Path) -> None:
    named = run.with_name("run.dcm#2")
    write_dicom(named, FRAMES[2], **{**FIELDS, "NumberOfFrames": 1})
    assert split_frame(named) == (named, None)
    assert read_image(named).dicom.frames == 1
    assert split_frame(run.with_name("run.dcm#3")) == (run, 3)
    assert frame_stem(run.with_name("run.dcm#3")) == "run-frame3"


def test_a_folder_gives_every_frame(run: Path, tmp_path: Path) -> None:
    (tmp_path / "spacing.json").write_text('{"images": {"run.dcm": 0.5}}')
    dataset = open_dataset(tmp_path)
    stems = {name.split("#")[0] for name in dataset.names}
    assert len(stems) == 1
    assert [name.split("#")[1] for name in dataset.names] == ["1", "2", "3"]
    assert np.array_equal(dataset[1].image, single(tmp_path / "..", 1))
    assert dataset[1].spacing_mm == (0.5, 0.5)


def test_a_list_names_frames(run: Path, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("run.dcm#2,1,2\nrun.dcm#3,3,4\n")
    dataset = open_dataset(tmp_path / "points.csv")
    assert list(dataset.names) == ["run.dcm#2", "run.dcm#3"]
    assert dataset[0].dicom.frame == 2
    assert dataset[1].points_px.tolist() == [[3, 4]]


def groups(**attributes: object) -> Dataset:
    """An item of functional groups, each attribute in the sequence that it belongs to."""
    places = {
        "RescaleSlope": "PixelValueTransformationSequence",
        "RescaleIntercept": "PixelValueTransformationSequence",
        "WindowCenter": "FrameVOILUTSequence",
        "WindowWidth": "FrameVOILUTSequence",
        "PixelSpacing": "PixelMeasuresSequence",
        "ImageOrientationPatient": "PlaneOrientationSequence",
    }
    item = Dataset()
    for name, value in attributes.items():
        if places[name] not in item:
            setattr(item, places[name], [Dataset()])
        setattr(getattr(item, places[name])[0], name, value)
    return item


@pytest.mark.parametrize("undefined", [False, True])
def test_functional_groups_of_each_frame(undefined: bool, run: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(run)
    dataset.Modality = "MR"
    dataset.SharedFunctionalGroupsSequence = [
        groups(PixelSpacing=[0.5, 0.25], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    ]
    dataset.PerFrameFunctionalGroupsSequence = [
        groups(RescaleSlope=n, RescaleIntercept=-n, WindowCenter=1000 * n, WindowWidth=2000)
        for n in (1, 2, 3)
    ]
    for name in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        dataset[name].is_undefined_length = undefined
    dataset.save_as(run)
    for n in (1, 2, 3):
        found = read_image(Path(f"{run}#{n}"))
        fields = {"RescaleSlope": n, "RescaleIntercept": -n, "WindowCenter": 1000 * n}
        alone = write_dicom(
            tmp_path / "one.dcm", FRAMES[n - 1], BitsStored=12, WindowWidth=2000, **fields
        )
        assert np.array_equal(found.pixels, read_image(alone).pixels)
        assert found.spacing_mm == (0.5, 0.25)
        assert found.dicom.orientation.plane == (1, 0, 0, 0, 1, 0)
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:2]
    dataset.save_as(run)
    with pytest.raises(ImageError, match="functional groups of 2 frames"):
        read_image(Path(f"{run}#3"))


def test_groups_of_very_many_items_are_refused(run: Path) -> None:
    content = run.read_bytes()
    items = b"\xfe\xff\x00\xe0\x00\x00\x00\x00" * 300_000
    head = b"\x00\x52\x30\x92SQ\x00\x00" + len(items).to_bytes(4, "little")
    place = content.index(b"\xe0\x7f\x10\x00")
    run.write_bytes(content[:place] + head + items + content[place:])
    with pytest.raises(ImageError, match="over 200000 elements"):
        read_image(Path(f"{run}#1"))


def test_one_frame_is_in_memory_at_a_time(tmp_path: Path) -> None:
    frames = np.zeros((64, 256, 256), np.uint16)
    path = write_dicom(tmp_path / "long.dcm", frames, NumberOfFrames=64, BitsStored=12)
    dataset = pydicom.dcmread(path)
    packed = [get_encoder(RLELossless).encode(dataset, index=0)] * 64
    dataset.PixelData = encapsulate(packed)
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    data = open_dataset(tmp_path)
    tracemalloc.start()
    try:
        for sample in data:
            assert sample.image.shape == (256, 256)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20  # all frames would take 8 MiB
