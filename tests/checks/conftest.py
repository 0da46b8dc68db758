from tests.dicom.conftest import phantom as phantom  # a fixture
from tests.dicom.conftest import write_series as write_series  # a fixture
