"""A DICOM listener: keeps what C-STORE sends and answers C-ECHO."""

import io
import logging
from collections.abc import Sequence
from typing import Any

import pydicom

from cpmn.errors import CpmnError
from cpmn.watch.node import checked_port, checked_title
from cpmn.watch.spool import Spool

logger = logging.getLogger(__name__)

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000  # DICOM PS3.4, table B.2-1
DEFLATED = "1.2.840.10008.1.2.1.99"  # a few kB of it fill the memory, and nobody sends scans that way
HOW = "In the project's folder: pip install -e '.[watch]'"


def listen(spool: Spool, *, host: str, port: int, title: str, allowed: Sequence[str] = ()) -> Any:
    """Start a listener that adds CT files to `spool`; gives the server, whose `shutdown()` ends it.

    `allowed` are the titles of those who may send; without any, everyone who reaches the port. Only CT is taken, so
    that results of ours that an archive forwards are refused.

    Raises CpmnError if pynetdicom is not installed, for a title that cannot be, or if the port cannot be had.
    """
    try:
        from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, evt
        from pynetdicom.sop_class import (
            CTImageStorage,  # type: ignore[attr-defined]
            EnhancedCTImageStorage,  # type: ignore[attr-defined]
            LegacyConvertedEnhancedCTImageStorage,  # type: ignore[attr-defined]
            Verification,  # type: ignore[attr-defined]
        )
    except ImportError as error:
        raise CpmnError(f"--listen needs pynetdicom, which is not here. {HOW}") from error
    entity = AE(ae_title=checked_title(title))
    entity.require_calling_aet = [checked_title(one) for one in allowed]
    entity.require_called_aet = False
    entity.add_supported_context(Verification)
    for kind in (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage):
        entity.add_supported_context(kind, [one for one in ALL_TRANSFER_SYNTAXES if one != DEFLATED])
    try:
        return entity.start_server(
            (host, checked_port(port)), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: _keep(event, spool))]
        )
    except OSError as error:
        raise CpmnError(f"cannot listen on {host}:{port} ({error}). Give another --listen or --bind.") from error


def _keep(event: Any, spool: Spool) -> int:
    """Keep one file and say how it went; nothing of it gets into the log."""
    try:
        content = event.encoded_dataset()
        tags = ["StudyInstanceUID", "SOPInstanceUID"]
        dataset = pydicom.dcmread(io.BytesIO(content), specific_tags=tags, stop_before_pixels=True)
        study, sop = (str(dataset[tag].value or "") for tag in tags)
        if not study or not sop:
            logger.warning("a file was refused that does not say of which study it is")
            return CANNOT_UNDERSTAND
        spool.add(study, sop, content)
    except OSError as error:
        logger.error("a file could not be kept: %s", error.strerror)
        return OUT_OF_RESOURCES
    except Exception as error:  # whatever a damaged file makes the parser raise
        logger.warning("a file could not be understood (%s)", type(error).__name__)
        return CANNOT_UNDERSTAND
    return SUCCESS
