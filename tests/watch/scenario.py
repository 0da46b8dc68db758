"""Twenty studies through Orthanc and `cpmn watch`, whose worker is killed three times; prints what Orthanc then holds.

Run in a network namespace of its own, since Debian's Orthanc cannot listen on loopback alone:

    unshare -n python tests/watch/scenario.py FOLDER

FOLDER holds `studies`, a folder each. Reading a scan is a stand-in here, which makes DICOM results of made-up marks
after half a second. Orthanc, the service, its worker and what is sent are real.
"""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path

from cpmn.watch.service import watch
from cpmn.watch.worker import Read, Work

URL = "http://127.0.0.1:8042"
KILLS = 3
UP, GET, SET = 1, 0x8913, 0x8914  # netdevice(7): IFF_UP, SIOCGIFFLAGS, SIOCSIFFLAGS


def bring_loopback_up() -> None:
    with socket.socket() as any_socket:
        asked = bytearray(struct.pack("16sH14x", b"lo", 0))
        fcntl.ioctl(any_socket, GET, asked)
        name, flags = struct.unpack("16sH14x", bytes(asked))
        fcntl.ioctl(any_socket, SET, struct.pack("16sH14x", name, flags | UP))


def asked(path: str, data: bytes | None = None):
    with urllib.request.urlopen(f"{URL}{path}", data=data, timeout=30) as answer:
        return json.loads(answer.read())


def start_orthanc(folder: Path) -> subprocess.Popen:
    settings = {
        "Name": "TEST",
        "StorageDirectory": str(folder / "orthanc"),
        "IndexDirectory": str(folder / "orthanc"),
        "HttpPort": 8042,
        "DicomPort": 4242,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": True,
        "StableAge": 2,
        "OverwriteInstances": True,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    log = (folder / "orthanc.log").open("w")
    started = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    wait_for(answers, 120)
    return started


def answers() -> bool:
    try:
        return bool(asked("/system"))
    except OSError:
        return False


def wait_for(condition, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(condition.__name__)
        time.sleep(0.2)


def send(folder: Path) -> None:
    for path in sorted((folder / "studies").rglob("*")):
        if path.is_file():
            asked("/instances", path.read_bytes())


def quick_reader(work: Work) -> Read:
    from tests.predict.marks import segment

    def read(files: Path, output: Path) -> None:
        time.sleep(0.5)
        segment(files, output, marks=2, identity=work.identity)

    return read


def serve(folder: Path, once: bool) -> None:
    """The service, as `cpmn watch FOLDER --orthanc URL` starts it."""
    target = (f"orthanc:{URL}",)
    work = Work(folder / "spool", "none", "cpmn", "cpu", target, "CPMN", identity=True, retries=5, pause_s=1.0)
    watch(work, stable_s=1.0, orthanc=URL, once=once, reader=quick_reader)


def start_service(folder: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, __file__, str(folder), "serve", *more]
    return subprocess.Popen(command, stdout=(folder / "watch.log").open("a"), stderr=subprocess.STDOUT)


def events(folder: Path) -> list[dict]:
    log = folder / "spool/audit.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []


def kill_workers(folder: Path) -> None:
    """Kill the worker while it reads, each time another one."""
    killed: set[int] = set()
    while len(killed) < KILLS:
        found = events(folder)
        pids = [one["pid"] for one in found if one["event"] == "worker started"]
        busy = bool(found) and found[-1]["event"] == "started"
        if pids and pids[-1] not in killed and busy:
            os.kill(pids[-1], signal.SIGKILL)
            killed.add(pids[-1])
        time.sleep(0.05)


def done(folder: Path) -> int:
    return len(list((folder / "spool/done").glob("*.json")))


def main(folder: Path) -> None:
    bring_loopback_up()
    orthanc = start_orthanc(folder)
    try:
        count = len(list((folder / "studies").iterdir()))
        service = start_service(folder)
        send(folder)
        kill_workers(folder)
        wait_for(lambda: done(folder) == count, 1500)
        service.send_signal(signal.SIGTERM)
        stopped = service.wait(300)
        send(folder)  # the same studies again
        time.sleep(4)
        again = start_service(folder, "once").wait(600)
        held = Counter(one["MainDicomTags"]["Modality"] for one in asked("/series?expand"))
        instances = asked("/statistics")["CountInstances"]
    finally:
        orthanc.terminate()
        orthanc.wait()
    listed = Counter(one["event"] for one in events(folder))
    print(json.dumps({"stopped": stopped, "again": again, "series": held, "instances": instances, "events": listed}))


if __name__ == "__main__":
    if "serve" in sys.argv:
        serve(Path(sys.argv[1]), once="once" in sys.argv)
    else:
        main(Path(sys.argv[1]))
