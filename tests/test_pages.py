"""What is put into a page."""

import pytest
from jinja2 import UndefinedError

from cpmn.pages import templates


def test_values_in_a_page_are_escaped_and_each_must_be_given(tmp_path):
    (tmp_path / "page.j2").write_text("{{ name }}\n")
    page, text = (templates(tmp_path, escape=escape).get_template("page.j2") for escape in (True, False))
    assert page.render(name="<b>") == "&lt;b&gt;"
    assert text.render(name="<b>") == "<b>\n"
    with pytest.raises(UndefinedError):
        page.render()
