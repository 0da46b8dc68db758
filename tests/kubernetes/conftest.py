"""A stand-in for Kubernetes: an HTTP server that takes the jobs of Snakemake's plugin and runs their commands here.

Not Kubernetes: no scheduler, no containers, no volumes, no limits. Each job's command runs as a process in an empty
folder of its own, with the environment that its secrets name, so that what a pod would miss is missing here too.
"""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import install_plugins

NEEDED = ("kubernetes==32.0.1", "durationpy==0.11", "oauthlib==4.0.1", "requests-oauthlib==2.0.0")


class Cluster:
    """What was asked of the stand-in: `jobs` by name, as they came; `folders` of their processes; `secrets`."""

    def __init__(self, folder: Path, plugins: Path):
        self.folder, self.plugins = folder, plugins
        self.jobs: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        pip = folder / "programs/pip"  # a pod gets the storage plugin from the index; here it is installed
        pip.parent.mkdir(parents=True)
        pip.write_text("#!/bin/sh\n")
        pip.chmod(0o755)

    def start(self, job: dict[str, Any]) -> None:
        """Run a job's command in the background."""
        name, container = job["metadata"]["name"], container_of(job)
        workdir = self.folder / name
        workdir.mkdir()
        path = os.pathsep.join([str(self.folder / "programs"), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {"PATH": path, "HOME": str(self.folder), "PYTHONPATH": f"{workdir}{os.pathsep}{self.plugins}"}
        environment |= {one["name"]: self._secret(one["valueFrom"]["secretKeyRef"]) for one in container["env"]}
        self.jobs[name] = job
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [*container["command"], *container["args"]], cwd=workdir, env=environment, stdout=log, stderr=log
            )

    def status(self, name: str) -> dict[str, int]:
        """As Kubernetes counts the pods of a job."""
        code = self._processes[name].poll()
        return {"active": 1} if code is None else {"failed": 1} if code else {"succeeded": 1}

    def logs(self) -> str:
        """What all jobs said."""
        return "\n".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()

    def _secret(self, reference: dict[str, str]) -> str:
        return base64.b64decode(self.secrets[reference["name"]][reference["key"]]).decode()


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    """The container of a job's only pod."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return container


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """The calls that the plugin makes."""

        def do_POST(self) -> None:
            sent = self._sent()
            if self.path.endswith("/secrets"):
                cluster.secrets[sent["metadata"]["name"]] = sent["data"]
            else:
                cluster.start(sent)
            self._answer(sent, 201)

        def do_GET(self) -> None:
            job = re.search(r"/jobs/([^/?]+)", self.path)
            self._answer(
                {**cluster.jobs[job[1]], "status": cluster.status(job[1])} if job else {"kind": "PodList", "items": []}
            )

        def do_DELETE(self) -> None:
            self._sent()
            self._answer({"kind": "Status", "status": "Success"})

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def _sent(self) -> dict[str, Any]:
            return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

        def _answer(self, body: dict[str, Any], status: int = 200) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Snakemake's plugins for Kubernetes and S3."""
    folder = tmp_path_factory.mktemp("plugins")
    install_plugins("kubernetes", folder, *NEEDED)
    return folder


@pytest.fixture
def cluster(tmp_path: Path, plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A stand-in that runs, named by `KUBECONFIG`."""
    made = Cluster(tmp_path / "cluster", plugins)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "stand-in", "user": "me"}}],
        "clusters": [{"name": "stand-in", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "me", "user": {"token": "none"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("PYTHONPATH", str(plugins))
    yield made
    made.stop()
    server.shutdown()
    server.server_close()
