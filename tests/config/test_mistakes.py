"""A key of an earlier version says where it is now."""

import pytest

from cpmn.config.root import load_config
from cpmn.errors import CpmnError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"train": {"steps": 4}}, "train.steps: is now train.schedule.steps (given: 4)"),
        ({"train": {"cpu_bfloat16": True}}, "train.cpu_bfloat16: is now train.machine.bfloat16"),
        ({"variants": {"x": {"channels": [8]}}}, "variants.x.channels: is now variants.x.network.channels"),
        ({"evaluate": {"confidence": 0.9}}, "evaluate.confidence: is now evaluate.interval_level"),
        ({"evaluate": {"steps": 4}}, "evaluate.steps: is not a setting"),
        ({"train": {"loss": {"steps": 4}}}, "train.loss.steps: is not a setting"),
        ({"train": {"patience": 4}}, "train.patience: is not a setting"),
    ],
)
def test_a_moved_key_says_where_it_is_now(values, message):
    with pytest.raises(CpmnError) as raised:
        load_config(values)
    assert message in str(raised.value)
