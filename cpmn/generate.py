"""Files that are written from the code: `python -m cpmn.generate`, or with `--check` to fail on a difference.

- `config/config.yaml`, its explanation `config/README.md` and the JSON schemas in `workflow/schemas/`, from the models;
- JSON schemas of what `cpmn predict` writes, in `docs/reference/`;
- `environment.yml` and `workflow/envs/*.yaml`, from the pins in `pyproject.toml`.
"""

import inspect
import json
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from cpmn.checks.catalogue import CHECKS
from cpmn.cohort.sheet import Patient
from cpmn.config.root import Config
from cpmn.predict.record import FailureRecord, PredictionRecord

ROOT = Path(__file__).parents[1]
PYTHON = "3.11"
BASE = ("nibabel", "numpy", "pandas", "pydantic", "pyyaml", "scipy", "simpleitk", "tqdm")
BASE += ("connected-components-3d", "isal")
DICOM = ("highdicom", "pydicom")
LEARNING = ("monai", "safetensors", "torch")
FIGURES = ("jinja2", "matplotlib", "mlflow", "psutil", "scikit-learn", "statsmodels")
ENVIRONMENTS = {
    "images": (*BASE, *DICOM, "pylibjpeg", "pylibjpeg-libjpeg", "pylibjpeg-openjpeg"),
    "register": (*BASE, "antspyx", "matplotlib"),
    "train": (*BASE, *DICOM, *LEARNING, *FIGURES),
}
"""Packages of each environment of the workflow: few files, shared by the rules that need the same."""

TABLE_BEGINS = "<!-- The table is written by `make generate`; edit cpmn/checks/catalogue.py instead. -->"
HEADER = "# Written by `make generate`; edit {source} instead.\n"


def pins(*extras: str) -> dict[str, str]:
    """Exact requirement by package name, from `pyproject.toml`, with those of the named extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [project["dependencies"], *(project["optional-dependencies"][name] for name in extras)]
    return {item.split("==")[0].split("[")[0]: item for items in listed for item in items}


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
    top = "# Defaults: the phantom demo. config/ holds other presets; config/README.md explains them.\n"
    return schema + HEADER.format(source="cpmn/config/*.py") + top + "\n".join(lines) + "\n"


def explanation() -> str:
    """`config/README.md`: how to configure, then every key with its default and meaning."""
    defaults = Config()
    top, sections = _parted(defaults)
    lines = [
        "<!-- Written by `make generate`; edit cpmn/config/*.py and docs/configuration.md instead. -->",
        (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8"),
        "## Every key",
        *_table("", top, defaults),
    ]
    for key, section in sections.items():
        lines += _explained(Config.model_fields[key].alias or key, section)
    return "\n".join(lines) + "\n"


def checks() -> str:
    """`docs/reference/checks.md`: what is held against what, and what follows."""
    page = (ROOT / "docs" / "reference" / "checks.md").read_text(encoding="utf-8").split(TABLE_BEGINS)[0]
    cells = [
        (f"`{name}`", one.of, one.compares, one.limits, "refused" if one.refuses else "warned of", one.source)
        for name, one in CHECKS.items()
    ]
    rows = [f"| {' | '.join(row)} |" for row in cells]
    head = ["| check | of | compares | limits | failure is | limits from |", "|---|---|---|---|---|---|"]
    return page + TABLE_BEGINS + "\n\n" + "\n".join([*head, *rows]) + "\n"


def schema(model: type[BaseModel]) -> str:
    """JSON schema of a model."""
    return json.dumps(model.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def files() -> dict[Path, str]:
    """Every generated file with its contents."""
    exact = pins()
    generated = {
        ROOT / "config/config.yaml": configuration(),
        ROOT / "config/README.md": explanation(),
        ROOT / "workflow/schemas/config.schema.json": schema(Config),
        ROOT / "workflow/schemas/cohort.schema.json": schema(Patient),
        ROOT / "docs/reference/prediction.schema.json": schema(PredictionRecord),
        ROOT / "docs/reference/error.schema.json": schema(FailureRecord),
        ROOT / "docs/reference/checks.md": checks(),
        ROOT / "environment.yml": environment("cpmn", list(pins("dev").values())),
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


def _parted(section: BaseModel) -> tuple[dict[str, FieldInfo], dict[str, BaseModel]]:
    """Keys of a section that hold values, and the sections inside it."""
    sections = {key: value for key, value in section if isinstance(value, BaseModel)}
    return {key: field for key, field in type(section).model_fields.items() if key not in sections}, sections


def _explained(name: str, section: BaseModel) -> list[str]:
    """A section's heading, meaning and keys, then the sections inside it."""
    values, inner = _parted(section)
    lines = ["", f"### `{name}`", "", inspect.cleandoc(str(type(section).__doc__)), ""]
    lines += _table(f"{name}.", values, section)
    return lines + [line for key, part in inner.items() for line in _explained(f"{name}.{key}", part)]


def _table(prefix: str, fields: Mapping[str, FieldInfo], section: BaseModel) -> list[str]:
    rows = [f"| `{prefix}{key}` | `{_inline(getattr(section, key))}` | {f.description} |" for key, f in fields.items()]
    return ["", "| key | default | meaning |", "|---|---|---|", *rows]


def _inline(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).strip().removesuffix("\n...")


if __name__ == "__main__":
    sys.exit(main())
