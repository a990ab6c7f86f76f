import pytest

from tests.support.creditcard import LABEL


@pytest.fixture
def csv(tmp_path, simulated_frame):
    """A small file in the original's form: header and label quoted."""
    path = tmp_path / "book.csv"
    quoted = simulated_frame.head(50).assign(**{LABEL: simulated_frame[LABEL].astype(str)})
    quoted.to_csv(path, index=False, quoting=2)
    return path
