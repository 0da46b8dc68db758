"""C-STORE in and out, between our own listener and sender."""

import socket

import pydicom
import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from cpmn.errors import CpmnError
from cpmn.watch.http import ArchiveError
from cpmn.watch.listener import listen
from cpmn.watch.sending import sender
from cpmn.watch.spool import Spool
from tests.dicom.conftest import make_slice

pynetdicom = pytest.importorskip("pynetdicom", reason="pynetdicom is not installed: pip install -e '.[watch]'")


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def scan(folder, **tags):
    paths = []
    for index in range(3):
        path = folder / f"{index}.dcm"
        make_slice(index, (0, 0, 5 * index), StudyInstanceUID="1.2.9", **tags).save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def test_what_is_sent_is_queued_as_it_was(tmp_path, port):
    spool, paths = Spool(tmp_path / "spool"), scan(tmp_path)
    server = listen(spool, host="127.0.0.1", port=port, title="CPMN", allowed=["ARCHIVE"])
    try:
        sender(f"CPMN@127.0.0.1:{port}", title="ARCHIVE")(paths)
        with pytest.raises(ArchiveError, match="does not take the connection"):
            sender(f"CPMN@127.0.0.1:{port}", title="STRANGER")(paths)
    finally:
        server.shutdown()
    spool.settle(0.0)
    study = spool.claim()
    assert study is not None
    kept = {one.SOPInstanceUID: one for one in (pydicom.dcmread(path) for path in study.files.iterdir())}
    for path in paths:
        original = pydicom.dcmread(path)
        assert kept[original.SOPInstanceUID].PixelData == original.PixelData


def test_an_archive_that_takes_the_default_transfer_syntax_alone(tmp_path, port):
    paths, taken = scan(tmp_path), []
    entity = pynetdicom.AE()
    entity.add_supported_context(CTImageStorage, ImplicitVRLittleEndian)

    def keep(event):
        taken.append((event.context.transfer_syntax, event.dataset.PixelData))
        return 0x0000

    handlers = [(pynetdicom.evt.EVT_C_STORE, keep)]
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)
    try:
        sender(f"ARCHIVE@127.0.0.1:{port}", title="CPMN")(paths)
    finally:
        server.shutdown()
    originals = [pydicom.dcmread(path) for path in paths]
    assert {one.file_meta.TransferSyntaxUID for one in originals} == {ExplicitVRLittleEndian}
    assert taken == [(ImplicitVRLittleEndian, one.PixelData) for one in originals]


def test_only_ct_is_taken(tmp_path, port):
    paths = scan(tmp_path, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4")
    spool = Spool(tmp_path / "spool")
    server = listen(spool, host="127.0.0.1", port=port, title="CPMN")
    try:
        with pytest.raises(ArchiveError):
            sender(f"CPMN@127.0.0.1:{port}", title="ARCHIVE")(paths)
    finally:
        server.shutdown()
    assert spool.idle()


def test_a_port_that_is_taken(tmp_path, port):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(CpmnError, match="cannot listen on"):
            listen(Spool(tmp_path), host="127.0.0.1", port=port, title="CPMN")


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"title": "C" * 17}, "is no title"),
        ({"title": "  "}, "is no title"),
        ({"allowed": ["ARCHIVE", "A" * 17]}, "is no title"),
        ({"allowed": ["A\\B"]}, "is no title"),
        ({"port": 99999}, "99999 is no port"),
        ({"port": 0}, "0 is no port"),
    ],
)
def test_a_title_or_a_port_that_cannot_be_listened_with(tmp_path, port, wrong, problem):
    with pytest.raises(CpmnError, match=problem):
        listen(Spool(tmp_path), **({"host": "127.0.0.1", "port": port, "title": "CPMN"} | wrong))


@pytest.mark.parametrize(
    ("target", "title", "problem"),
    [
        ("ARCHIVE@localhost:99999", "CPMN", "99999 is no port"),
        ("ARCHIVE@localhost:0", "CPMN", "0 is no port"),
        ("A" * 17 + "@localhost:104", "CPMN", "is no title"),
        (" @localhost:104", "CPMN", "is no title"),
        ("ARCHIVE@localhost:104", "C" * 17, "is no title"),
    ],
)
def test_a_target_with_a_title_or_a_port_that_cannot_be(target, title, problem):
    with pytest.raises(CpmnError, match=problem):
        sender(target, title=title)


def test_an_archive_that_is_away(tmp_path, port):
    with pytest.raises(ArchiveError, match="does not take the connection"):
        sender(f"A@127.0.0.1:{port}", title="CPMN")(scan(tmp_path))
    with pytest.raises(ArchiveError, match="does not answer"):
        sender(f"orthanc:http://127.0.0.1:{port}", title="CPMN")(scan(tmp_path))


def test_a_file_that_names_no_study_is_refused(tmp_path, port):
    paths = scan(tmp_path)
    dataset = pydicom.dcmread(paths[0])
    dataset.StudyInstanceUID = ""
    dataset.save_as(paths[0])
    spool = Spool(tmp_path / "spool")
    server = listen(spool, host="127.0.0.1", port=port, title="CPMN")
    try:
        with pytest.raises(ArchiveError, match="did not take a result"):
            sender(f"CPMN@127.0.0.1:{port}", title="ARCHIVE")(paths[:1])
    finally:
        server.shutdown()
    spool.settle(0.0)
    assert spool.claim() is None
