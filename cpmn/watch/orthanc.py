"""Studies from Orthanc by its REST interface: what has become stable since the last look."""

import re
from typing import Any

from cpmn.files import read_json, write_json
from cpmn.watch.http import ArchiveError, request, request_json
from cpmn.watch.spool import Spool

IDENTIFIER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")  # Orthanc's own; nothing else gets into an address
PAGE = 100


class Orthanc:
    """Polls `url` and adds the CT files of stable studies to `spool`. Where it has got to stands in a file there."""

    def __init__(self, url: str, spool: Spool):
        self._url, self._spool = url.rstrip("/"), spool
        self._place = spool.folder / "orthanc.json"

    def poll(self) -> None:
        """Fetch what became stable since. Raises ArchiveError; what was fetched is not fetched again."""
        try:
            self._poll()
        except (KeyError, TypeError) as error:
            raise ArchiveError(f"{self._url} gave an answer without {error}. Is it Orthanc?") from error

    def _poll(self) -> None:
        last = read_json(self._place)["last"] if self._place.is_file() else 0
        while True:
            page = request_json(f"{self._url}/changes?since={last}&limit={PAGE}")
            for change in page["Changes"]:
                if change["ChangeType"] == "StableStudy":
                    self._fetch(change["ID"])
                last = change["Seq"]
                write_json(self._place, {"last": last})
            if page["Done"]:
                return

    def _fetch(self, study: str) -> None:
        """Add the CT files of a study, unless exactly these were read: our own results make a study change again."""
        try:
            found = self._get("studies", study)
            series = [self._get("series", one) for one in found["Series"]]
        except ArchiveError as error:
            if "answered 404" in str(error):  # deleted since
                return
            raise
        listed = [
            self._get("instances", instance)
            for one in series
            if one["MainDicomTags"].get("Modality") == "CT"
            for instance in one["Instances"]
        ]
        uid = found["MainDicomTags"]["StudyInstanceUID"]
        files = {one["MainDicomTags"]["SOPInstanceUID"]: one["ID"] for one in listed}
        if not files or self._spool.knows(uid, list(files)):
            return
        for sop, identifier in files.items():
            self._spool.add(uid, sop, request(f"{self._url}/instances/{_checked(identifier)}/file"))

    def _get(self, kind: str, identifier: str) -> Any:
        return request_json(f"{self._url}/{kind}/{_checked(identifier)}")


def _checked(identifier: str) -> str:
    if not IDENTIFIER.fullmatch(identifier):
        raise ArchiveError("Orthanc gave an identifier that is none of its own. Is it Orthanc?")
    return identifier
