import numpy as np

from ml_project.dataset import Dataset
from ml_project.slices import slices


def test_every_row_is_in_one_band_of_each_kind() -> None:
    raw = np.zeros((5, 30))
    raw[:, 0] = [0, 6 * 3600, 18 * 3600 - 1, 86_400 + 3600, 86_400 * 2 - 1]
    raw[:, -1] = [0, 9.99, 10, 100, 1e6]
    data = Dataset(raw, np.zeros(5, dtype=np.int8), np.ones(5), np.arange(5.0))
    found = {name: rows.tolist() for name, rows in slices(data, (10, 100), (6, 18)).items()}
    assert found == {
        "amount 0 to 10": [0, 1],
        "amount 10 to 100": [2],
        "amount from 100": [3, 4],
        "hour 0 to 6": [0, 3],
        "hour 6 to 18": [1, 2],
        "hour 18 to 24": [4],
    }
