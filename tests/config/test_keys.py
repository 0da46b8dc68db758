from cpmn.config.keys import dotted, merged


def test_changes_lie_over_values_key_by_key():
    values, changes = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}, "e": 5}
    assert merged(values, changes) == {"a": 1, "b": {"c": 4, "d": 3}, "e": 5}
    assert values == {"a": 1, "b": {"c": 2, "d": 3}}


def test_a_value_takes_the_place_of_a_section_and_the_other_way_round():
    assert merged({"a": {"b": 1}}, {"a": 2}) == {"a": 2}
    assert merged({"a": 2}, {"a": {"b": 1}}) == {"a": {"b": 1}}


def test_nested_values_have_dotted_keys():
    assert dotted({"a": 1, "b": {"c": {"d": [2]}, "e": None}}) == {"a": 1, "b.c.d": [2], "b.e": None}
