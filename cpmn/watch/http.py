"""Requests to an archive by HTTP, with the user and password that the environment names."""

import base64
import json
import os
import urllib.error
import urllib.request
from collections.abc import Collection
from http.client import HTTPException
from typing import Any

from cpmn.errors import CpmnError

USER, PASSWORD = "CPMN_ARCHIVE_USER", "CPMN_ARCHIVE_PASSWORD"
TIMEOUT_S = 60


class ArchiveError(CpmnError):
    """The archive did not answer as it should; trying again may help."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST would be repeated as a GET, without its body, and the password go to whoever is named."""

    def redirect_request(self, *_: Any) -> None:
        return None


def request(url: str, *, data: bytes | None = None, content_type: str = "", accept: str = "") -> bytes:
    """Body of the answer to a GET, or with `data` to a POST. Raises ArchiveError unless the status is 200."""
    return answer_to(url, data=data, content_type=content_type, accept=accept)[1]


def answer_to(
    url: str, *, data: bytes | None = None, content_type: str = "", accept: str = "", taken: Collection[int] = (200,)
) -> tuple[int, bytes]:
    """Status and body of an answer. Raises ArchiveError unless the status is `taken`; redirects are not followed."""
    if not url.startswith(("http://", "https://")):
        raise CpmnError(f"{url} is no address of an archive. It begins with http:// or https://.")
    headers = {"Content-Type": content_type, "Accept": accept} | _authorization()
    asked = urllib.request.Request(url, data=data, headers={key: text for key, text in headers.items() if text})
    try:
        with urllib.request.build_opener(_NoRedirect).open(asked, timeout=TIMEOUT_S) as answer:
            if answer.status not in taken:
                raise ArchiveError(f"{url} answered {answer.status}. Did it take everything?")
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        if error.code in taken:
            return error.code, error.read()
        moved = "It has moved: give the final address."
        remedy = moved if 300 <= error.code < 400 else f"Are the address, {USER} and {PASSWORD} right?"
        raise ArchiveError(f"{url} answered {error.code}. {remedy}") from error
    except (OSError, HTTPException) as error:
        raise ArchiveError(f"{url} does not answer ({error}). Is the archive running?") from error


def request_json(url: str) -> Any:
    """The answer as JSON. Raises ArchiveError as `request`, and for what is no JSON."""
    try:
        return json.loads(request(url, accept="application/json"))
    except ValueError as error:
        raise ArchiveError(f"{url} answered no JSON. Is it Orthanc?") from error


def _authorization() -> dict[str, str]:
    if not (user := os.environ.get(USER)):
        return {}
    token = base64.b64encode(f"{user}:{os.environ.get(PASSWORD, '')}".encode()).decode()
    return {"Authorization": f"Basic {token}"}
