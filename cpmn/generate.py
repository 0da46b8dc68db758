"""Files that are written from the code: `python -m cpmn.generate`, or with `--check` to fail on a difference.

- `config/config.yaml` and the JSON schemas in `workflow/schemas/`, from the configuration models;
- `environment.yml` and `workflow/envs/*.yaml`, from the pins in `pyproject.toml`.
"""

import json
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from cpmn.cohort import Patient
from cpmn.config.root import Config

ROOT = Path(__file__).parent.parent
PYTHON = "3.11"
BASE = ("numpy", "pydantic", "pyyaml", "scipy", "simpleitk", "tqdm", "connected-components-3d")
LEARNING = ("monai", "safetensors", "torch")
FIGURES = ("jinja2", "matplotlib", "mlflow", "pandas", "psutil", "scikit-learn", "statsmodels")
ENVIRONMENTS = {
    "images": (*BASE, "highdicom", "pydicom", "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg"),
    "register": (*BASE, "antspyx", "matplotlib", "pandas"),
    "train": (*BASE, *LEARNING, *FIGURES),
    "track": ("mlflow", "numpy", "pydantic", "pyyaml", "simpleitk"),
}
"""Packages of each environment of the workflow: few files, shared by the rules that need the same."""

HEADER = "# Written by `make generate`; edit {source} instead.\n"


def pins() -> dict[str, str]:
    """Exact requirement by package name, from `pyproject.toml`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {item.split("==")[0].split("[")[0]: item for item in project["dependencies"]}


def environment(name: str, requirements: list[str]) -> str:
    """A conda environment file with Python from conda-forge and exact pins through pip."""
    content = {
        "name": name,
        "channels": ["conda-forge"],
        "dependencies": [f"python={PYTHON}", "pip", {"pip": requirements}],
    }
    return HEADER.format(source="pyproject.toml") + yaml.safe_dump(content, sort_keys=False)


def configuration() -> str:
    """`config/config.yaml`: every key with its default, its description above it."""
    lines = list(_described(Config(), 0))
    schema = "# yaml-language-server: $schema=../workflow/schemas/config.schema.json\n"
    top = "# Defaults: the phantom demo. Other presets lie beside this file; README.md explains their use.\n"
    return schema + HEADER.format(source="cpmn/config/*.py") + top + "\n".join(lines) + "\n"


def schema(model: type[BaseModel]) -> str:
    """JSON schema of a model."""
    return json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def files() -> dict[Path, str]:
    """Every generated file with its contents."""
    exact = pins()
    generated = {
        ROOT / "config/config.yaml": configuration(),
        ROOT / "workflow/schemas/config.schema.json": schema(Config),
        ROOT / "workflow/schemas/cohort.schema.json": schema(Patient),
        ROOT / "environment.yml": environment("cpmn", list(exact.values())),
    }
    for name, packages in ENVIRONMENTS.items():
        path = ROOT / "workflow" / "envs" / f"{name}.yaml"
        generated[path] = environment(f"cpmn-{name}", sorted(exact[package] for package in packages))
    return generated


def main() -> int:
    """Write the generated files, or with `--check` name those that differ and return 1."""
    different = [path for path, text in files().items() if not path.is_file() or path.read_text() != text]
    if "--check" in sys.argv[1:]:
        for path in different:
            print(f"{path.relative_to(ROOT)} is not up to date: run `make generate`", file=sys.stderr)
        return 1 if different else 0
    for path in different:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files()[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


def _described(section: BaseModel, depth: int) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(section).model_fields.items():
        key, value = field.alias or name, getattr(section, name)
        if isinstance(value, BaseModel):
            yield f"\n{indent}# {field.description}"
            yield f"{indent}{key}:"
            yield from _described(value, depth + 1)
        else:
            yield from textwrap.wrap(
                field.description or "", 110, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
            )
            yield f"{indent}{key}: {_inline(value)}"


def _inline(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).strip().removesuffix("\n...")


if __name__ == "__main__":
    sys.exit(main())
