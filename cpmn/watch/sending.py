"""Sending results back: by C-STORE, by STOW-RS, or to Orthanc's own interface."""

import json
import re
import uuid
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import pydicom
from pydicom.uid import ImplicitVRLittleEndian

from cpmn.errors import CpmnError
from cpmn.watch.http import ArchiveError, answer_to, request
from cpmn.watch.listener import HOW
from cpmn.watch.node import checked_port, checked_title

NODE = re.compile(r"(?P<title>[^@]+)@(?P<host>[\w.:-]+):(?P<port>\d{1,5})")
FORMS = "TITLE@HOST:PORT for C-STORE, stow:URL for STOW-RS, orthanc:URL for Orthanc"
WARNINGS = range(0xB000, 0xC000)  # stored, but changed (DICOM PS3.4, table B.2-1)
FAILED, REASON, DUPLICATE = "00081198", "00081197", 0x0111
"""STOW-RS says what it did not store, and why: among others, because it has it (DICOM PS3.18, 10.5.3; PS3.3, C.14)."""


def sender(target: str, *, title: str) -> Callable[[Iterable[Path]], None]:
    """A function that sends DICOM files to `target`; `title` is our own. It raises ArchiveError if one is not taken.

    Raises CpmnError if the target has no form that is known, or for a title or a port that cannot be.
    """
    kind, _, address = target.partition(":")
    if kind in ("stow", "orthanc") and address.startswith(("http://", "https://")):
        send = {"stow": _by_stow, "orthanc": _to_orthanc}[kind]
        return lambda paths: send(address.rstrip("/"), list(paths))
    if found := NODE.fullmatch(target):
        if find_spec("pynetdicom") is None:
            raise CpmnError(f"C-STORE needs pynetdicom, which is not here. {HOW}")
        node = found["host"], checked_port(int(found["port"])), checked_title(found["title"])
        own = checked_title(title)
        return lambda paths: _by_store(*node, own, list(paths))
    raise CpmnError(f"'{target}' is no target. Write {FORMS}.")


def _by_store(host: str, port: int, called: str, title: str, paths: list[Path]) -> None:
    from pynetdicom import AE

    datasets = [pydicom.dcmread(path) for path in paths]
    entity = AE(ae_title=title)
    syntaxes = {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}
    # Implicit VR Little Endian has to be offered too (PS3.5, 10.1); pynetdicom converts where it alone is taken
    for kind, syntax in sorted(syntaxes | {(kind, ImplicitVRLittleEndian) for kind, _ in syntaxes}):
        entity.add_requested_context(kind, syntax)
    association = entity.associate(host, port, ae_title=called)
    if not association.is_established:
        raise ArchiveError(f"{called} at {host}:{port} does not take the connection. Does it know the title {title}?")
    try:
        for dataset in datasets:
            status = association.send_c_store(dataset).get("Status", None)
            if status is None or (status and status not in WARNINGS):
                raise ArchiveError(f"{called} at {host}:{port} did not take a result (status {status}).")
    except (ValueError, RuntimeError) as error:  # no accepted context, or the connection is gone
        raise ArchiveError(f"{called} at {host}:{port} does not take such results ({type(error).__name__}).") from error
    finally:
        association.release()


def _by_stow(url: str, paths: list[Path]) -> None:
    boundary = uuid.uuid4().hex
    parts = [
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + p.read_bytes() + b"\r\n" for p in paths
    ]
    form = f'multipart/related; type="application/dicom"; boundary={boundary}'
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    status, answer = answer_to(
        f"{url}/studies", data=body, content_type=form, accept="application/dicom+json", taken=(200, 202, 409)
    )
    if not _all_there(status, answer):
        raise ArchiveError(f"{url} answered {status}: it did not take everything.")


def _all_there(status: int, answer: bytes) -> bool:
    """Whether an answer in JSON names nothing that was not stored, but for what the archive had before.

    200 says that all is stored (PS3.18, table 10.5.3-1), and its text need not be JSON; 409 that nothing is, so that it
    has to say why.
    """
    try:
        found = json.loads(answer)
    except ValueError:
        return status == 200
    try:
        parts = found if isinstance(found, list) else [found]
        failed = [item for part in parts for item in part.get(FAILED, {}).get("Value", [])]
        return all(item[REASON]["Value"][0] == DUPLICATE for item in failed) and (status != 409 or bool(failed))
    except (AttributeError, LookupError, TypeError):
        return False


def _to_orthanc(url: str, paths: list[Path]) -> None:
    for path in paths:
        request(f"{url}/instances", data=path.read_bytes(), content_type="application/dicom")
