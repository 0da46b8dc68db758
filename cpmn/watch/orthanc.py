"""Studies from Orthanc by its REST interface: what has become stable since the last look."""

import re
from typing import Any

from cpmn.dicom.identity import uid_key
from cpmn.files import read_json, write_json
from cpmn.watch.http import ArchiveError, request, request_json
from cpmn.watch.spool import Spool

IDENTIFIER = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")  # Orthanc's own; nothing else gets into an address
PAGE = 100
TRIES = 30  # ours, a second apart: so often is a study asked for that the archive lists and does not give


class Orthanc:
    """Polls `url` and adds the CT files of stable studies to `spool`. Where it has got to stands in a file there.

    new_only : whether to begin, at a server that was never asked, with what becomes stable from now on.
    """

    def __init__(self, url: str, spool: Spool, new_only: bool = False):
        self._url, self._spool, self._new_only = url.rstrip("/"), spool, new_only
        self._path = spool.folder / "orthanc.json"
        self._place: dict[str, Any] = {}  # empty: the server is to be asked whether it is the one of before

    @property
    def pending(self) -> str:
        """Key of the study that is fetched in part."""
        return self._kept().get("pending", "")

    def poll(self) -> bool:
        """Fetch what became stable since, at most a page of changes; whether there is no more of it.

        Raises ArchiveError; what was fetched is not fetched again.
        """
        try:
            if not self._place:
                self._note(**self._place_of_server())
            return self._poll()
        except ArchiveError:
            self._place = {}  # what answers next may be another
            raise
        except (AttributeError, KeyError, TypeError) as error:
            raise ArchiveError(f"{self._url} gave an answer without {error}. Is it Orthanc?") from error

    def _poll(self) -> bool:
        page = request_json(f"{self._url}/changes?since={self._place['last']}&limit={PAGE}")
        for change in page["Changes"]:
            if change["ChangeType"] == "StableStudy":
                self._fetch_or_skip(change["ID"])
            self._note(last=change["Seq"], pending="", tries=0)
        return page["Done"]

    def _place_of_server(self) -> dict[str, Any]:
        """Where this server's changes were read to: for another server as `new_only` says; 0 for one that counts anew.

        A place of before servers were noted is this server's.
        """
        kept = self._kept()
        server = f"{self._url} {request_json(f'{self._url}/system').get('DatabaseServerIdentifier', '')}"
        newest = request_json(f"{self._url}/changes?last")["Last"]
        place = {"last": 0, "pending": "", "tries": 0, "server": server}
        if not kept or kept.get("server", server) != server:
            return place | {"last": newest if self._new_only else 0}
        return place | kept if kept.get("last", 0) <= newest else place

    def _kept(self) -> dict[str, Any]:
        return read_json(self._path) if self._path.is_file() else {}

    def _note(self, **facts: Any) -> None:
        place = self._place | facts
        write_json(self._path, place)  # where a full disk does not take it, it is not so, and is done again
        self._place = place

    def _fetch_or_skip(self, study: str) -> None:
        """Fetch a study; one that the archive lists and does not give must not keep all others waiting for ever."""
        try:
            self._fetch(study)
        except ArchiveError:
            self._note(tries=self._place["tries"] + 1)
            if self._place["tries"] < TRIES:
                raise
            self._spool.drop(self.pending)

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
        self._note(pending=uid_key(uid))
        for sop, identifier in files.items():
            self._spool.add(uid, sop, request(f"{self._url}/instances/{_checked(identifier)}/file"))

    def _get(self, kind: str, identifier: str) -> Any:
        return request_json(f"{self._url}/{kind}/{_checked(identifier)}")


def _checked(identifier: str) -> str:
    if not IDENTIFIER.fullmatch(identifier):
        raise ArchiveError("Orthanc gave an identifier that is none of its own. Is it Orthanc?")
    return identifier
