"""Files that are written from the code agree with it."""

from collections.abc import Iterator

import pytest
import yaml
from pydantic import BaseModel

from cpmn.config.root import Config, load_config
from cpmn.generate import ROOT, files, pins


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_file_is_up_to_date(path):
    assert path.read_text(encoding="utf-8") == files()[path], "run `make generate`"


def test_default_configuration_is_what_the_code_uses_without_one():
    assert load_config(yaml.safe_load((ROOT / "config/config.yaml").read_text())) == Config()


def test_every_pin_is_exact():
    assert all("==" in requirement for requirement in pins().values())


def test_environments_pin_as_pyproject_does():
    for path in [ROOT / "environment.yml", *(ROOT / "workflow/envs").glob("*.yaml")]:
        environment = yaml.safe_load(path.read_text())
        requirements = environment["dependencies"][-1]["pip"]
        assert set(requirements) <= set(pins("dev").values()), path


def undescribed(section: BaseModel, prefix: str = "") -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        if not field.description:
            yield prefix + name
        if isinstance(value := getattr(section, name), BaseModel):
            yield from undescribed(value, f"{prefix}{name}.")


def test_every_key_of_every_section_is_described():
    assert not list(undescribed(Config()))
