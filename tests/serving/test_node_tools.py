"""A node between programs of others: dcmtk and Orthanc, as both ends."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dicom_nodes import Log, free_port, is_open, make_image, until
from orthanc import find_orthanc, running_orthanc
from pydicom import dcmread

from mahtrt.serving.options import ServeOptions
from mahtrt.serving.serve import opened


def find_dcmtk(name: str) -> str | None:
    """A program of dcmtk; pynetdicom brings others of the same names."""
    found = shutil.which(name, path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if found is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return found if "dcmtk" in told.stdout else None


def options_for(bundle: Path, queue: Path, port: int, send_to: str) -> ServeOptions:
    return ServeOptions(
        bundle,
        send_to,
        dicom=f"MAHTRT:{port}",
        queue=queue,
        engine="onnxruntime-fp32",
        threads=1,
        allow=["CT1", "ORTHANC"],
        retry_s=0.1,
    )


@contextlib.contextmanager
def storescp(program: str, folder: Path) -> Iterator[int]:
    """dcmtk's archive: what it is sent becomes files of a folder."""
    port = free_port()
    folder.mkdir()
    command = [program, "--aetitle", "PACS", "--output-directory", str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT) as process:
        try:
            until(lambda: is_open(port))
            yield port
        finally:
            process.terminate()


def test_dcmtk_sends_images_and_gets_reports(bundle: Path, tmp_path: Path) -> None:
    programs = [find_dcmtk(name) for name in ("storescu", "storescp", "echoscu")]
    if None in programs:
        pytest.skip("dcmtk is not installed")
    send, keep, echo = map(str, programs)
    for number in range(3):
        make_image(number).save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    images = [str(tmp_path / f"{number}.dcm") for number in range(3)]
    log, port = Log(), free_port()
    with (
        storescp(keep, tmp_path / "kept") as archive,
        opened(options_for(bundle, tmp_path / "queue", port, f"PACS@127.0.0.1:{archive}"), log),
    ):
        to_us = ["--call", "MAHTRT", "--aetitle", "CT1", "127.0.0.1", str(port)]
        assert subprocess.run([echo, *to_us], check=False).returncode == 0
        assert subprocess.run([send, *to_us, *images], check=False).returncode == 0
        to_us[3] = "STRANGER"
        refused = subprocess.run([echo, *to_us], capture_output=True, text=True, check=False)
        assert "Calling AE Title Not Recognized" in refused.stderr + refused.stdout
        until(lambda: len(log.of("sent")) == 3)
    kept = [dcmread(path) for path in (tmp_path / "kept").iterdir()]
    assert sorted(report.PatientID for report in kept) == ["PID00000", "PID00001", "PID00002"]
    assert {report.Modality for report in kept} == {"SR"}


@pytest.mark.slow
@pytest.mark.skipif(find_orthanc() is None, reason="Orthanc is not installed")
def test_orthanc_sends_an_image_and_gets_its_report(bundle: Path, tmp_path: Path) -> None:
    make_image(1).save_as(tmp_path / "image.dcm", enforce_file_format=True)
    log, port = Log(), free_port()
    settings = {
        "DicomServerEnabled": True,
        "DicomAlwaysAllowFind": True,
        "DicomModalities": {"node": ["MAHTRT", "127.0.0.1", port]},
    }
    with running_orthanc(tmp_path, **settings) as orthanc:
        send_to = f"ORTHANC@127.0.0.1:{orthanc.dicom}"
        image = orthanc.told("/instances", (tmp_path / "image.dcm").read_bytes())
        with opened(options_for(bundle, tmp_path / "queue", port, send_to), log) as node:
            orthanc.told("/modalities/node/store", image["ID"].encode())
            until(lambda: log.of("sent"))
            orthanc.told("/modalities/node/store", image["ID"].encode())
            until(lambda: log.of("repeated"))
            node.stop()
            queue = node._queue
            (name,) = set(orthanc.told("/instances")) - {image["ID"]}
            with queue._lock:  # as it is where the process ends before the answer
                queue._table.execute("UPDATE entry SET state = 'sending'")
                entry = queue.next_report()
                assert entry is not None
                queue.report(entry.digest).write_bytes(orthanc.ask(f"/instances/{name}/file"))
        with opened(options_for(bundle, tmp_path / "queue", port, send_to), log):
            until(lambda: len(log.of("sent")) == 2)
        assert log.of("sent")[1].facts["found"] == "there"
        assert len(orthanc.told("/instances")) == 2
        parents = {orthanc.told(f"/instances/{each}/study")["ID"] for each in (image["ID"], name)}
        assert len(parents) == 1
