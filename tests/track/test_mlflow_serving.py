"""A registered model behind `mlflow models serve`, asked over HTTP."""

import base64
import json
import urllib.error
import urllib.request

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("workflow")]


@pytest.fixture(scope="module")
def served(tiny, uri, serve, port):
    """Address of the served model; the registry names its files from the run's folder on."""
    command = ["models", "serve", "--model-uri", "models:/cpmn-phantom-learnable/1", "--env-manager", "local"]
    with serve(command, port(), "/health", tiny.run, MLFLOW_TRACKING_URI=uri) as address:
        yield address


def ask(address, **body):
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())["predictions"]


def test_scan_is_read_by_its_path_and_by_its_contents(tiny, served):
    scan = tiny.run / "results/convert/phantom-001/nct.nii.gz"
    (by_path,) = ask(served, dataframe_records=[{"path": str(scan)}])
    assert set(by_path) == {"score", "threshold", "decision", "volume_ml", "prediction"}
    assert json.loads(by_path.pop("prediction"))["reasons"]
    assert by_path["decision"] == "indeterminate"  # nothing in a NIfTI file shows that it is a phantom
    (by_contents,) = ask(served, dataframe_records=[{"nifti": base64.b64encode(scan.read_bytes()).decode()}])
    assert by_contents.pop("prediction")
    assert by_contents == by_path


def test_folder_of_dicom_files_is_read_too(tiny, served):
    folders = [str(tiny.run / f"data/phantom/phantom-00{number}/nct") for number in (1, 2)]
    assert len(ask(served, dataframe_split={"columns": ["path"], "data": [[folder] for folder in folders]})) == 2


@pytest.mark.parametrize(("row", "message"), [({"path": "/nowhere"}, "does not exist"), ({"path": ""}, "needs 'path'")])
def test_a_scan_that_cannot_be_read_is_the_senders_mistake(served, row, message):
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask(served, dataframe_records=[row])
    assert caught.value.code == 400
    assert message in caught.value.read().decode()
