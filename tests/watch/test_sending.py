"""What goes to an archive over HTTP, held against a server that keeps what it is sent."""

import base64
import json
import re
import socket
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, cast

import pytest

from cpmn.errors import CpmnError
from cpmn.watch.http import ArchiveError, request
from cpmn.watch.sending import sender


@pytest.fixture
def archive():
    """A server, what it was sent (path, headers, body), and the status that it answers, with its text."""
    said = [b"{}"]
    sent, status = [], cast(list[Any], [200, said])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.append((self.path, self.headers, body))
            self.send_response(status[0])
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
            self.wfile.write(said[0])

        def log_message(self, *_arguments) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", sent, status
    server.shutdown()


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / name for name in ("a.dcm", "b.dcm")]
    for path in paths:
        path.write_bytes(b"DICM \r\n" + path.name.encode())
    return paths


def test_stow_sends_all_files_in_one_request(archive, files, monkeypatch):
    monkeypatch.setenv("CPMN_ARCHIVE_USER", "reader")
    monkeypatch.setenv("CPMN_ARCHIVE_PASSWORD", "secret")
    url, sent, _ = archive
    sender(f"stow:{url}/dicom-web", title="CPMN")(files)
    ((path, headers, body),) = sent
    assert path == "/dicom-web/studies"
    form = re.fullmatch(r'multipart/related; type="application/dicom"; boundary=(\w+)', headers["Content-Type"])
    assert form is not None
    parts = body.split(f"--{form[1]}".encode())
    assert parts[-1] == b"--\r\n"
    contents = [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in parts[1:-1]]
    assert contents == [path.read_bytes() for path in files]
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")) == b"reader:secret"


def test_orthanc_gets_file_by_file(archive, files):
    url, sent, _ = archive
    sender(f"orthanc:{url}/", title="CPMN")(files)
    assert [(path, body) for path, _, body in sent] == [("/instances", path.read_bytes()) for path in files]


@pytest.mark.parametrize("code", [301, 303, 307, 401, 500])
def test_an_archive_that_does_not_take_everything(archive, files, code):
    url, _, status = archive
    status[0] = code
    with pytest.raises(ArchiveError, match=f"answered {code}"):
        sender(f"stow:{url}", title="CPMN")(files)


@pytest.mark.parametrize("kind", ["stow", "orthanc"])
def test_a_redirect_is_not_followed(archive, files, kind):
    """It would be asked by a GET, which stores nothing and is answered 200, with the password in hand."""
    url, sent, status = archive
    status[0] = 302
    with pytest.raises(ArchiveError, match=r"answered 302\. It has moved: give the final address"):
        sender(f"{kind}:{url}", title="CPMN")(files)
    assert len(sent) == 1


def _not_stored(*reasons: int) -> bytes:
    return json.dumps({"00081198": {"Value": [{"00081197": {"Value": [reason]}} for reason in reasons]}}).encode()


@pytest.mark.parametrize(
    ("code", "body", "taken"),
    [
        (202, b"{}", True),  # stored, with a warning
        (409, _not_stored(0x0111, 0x0111), True),  # it has both
        (202, _not_stored(0x0111, 0xA700), False),  # out of resources
        (409, _not_stored(0xC000), False),
        (409, b"", False),
        (202, b"<xml/>", False),
        (409, b'{"00081198": {"Value": [{}]}}', False),
        (200, b'{"00081198": {"Value": [{}]}}', False),
        (200, b"[" + _not_stored(0xA700) + b"]", False),
        (409, b"{}", False),  # nothing is stored, and it does not say why
        (200, b"", True),
        (200, _not_stored(0x0111), True),
        (200, _not_stored(0xA700), False),
    ],
)
def test_stow_has_taken_what_the_archive_does_not_say_that_it_lacks(archive, files, code, body, taken):
    url, _, status = archive
    status[0], status[1][0] = code, body
    send = sender(f"stow:{url}", title="CPMN")
    if taken:
        send(files)
    else:
        with pytest.raises(ArchiveError, match=f"answered {code}: it did not take everything"):
            send(files)


def test_no_address_but_of_the_web_is_asked():
    with pytest.raises(CpmnError, match="begins with http"):
        request("file:///etc/passwd")


def test_an_archive_that_stops_in_the_middle_of_an_answer():
    """Half of the bytes that were announced, then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")

        thread = Thread(target=answer)
        thread.start()
        with pytest.raises(ArchiveError, match="does not answer"):
            request(f"http://127.0.0.1:{server.getsockname()[1]}/changes")
        thread.join()
