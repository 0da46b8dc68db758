"""`cpmn info`: versions and devices."""

import argparse
import json

from cpmn.cli.shared import Commands


def add(commands: Commands) -> None:
    info = commands.add_parser("info", help="versions and devices")
    info.add_argument("--json", action="store_true", help="machine-readable")
    info.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    from cpmn.job.versions import versions

    found = versions()
    found["device"] = _device() if found["torch"] else None
    print(json.dumps(found, indent=2) if options.json else "\n".join(f"{k:14} {v}" for k, v in found.items()))


def _device() -> str:
    from cpmn.model.devices import choose_device, device_name

    return device_name(choose_device("auto"))
