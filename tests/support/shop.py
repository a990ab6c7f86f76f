"""A bank's own contract, with names that want quoting in YAML, SQL, CSV or code."""

from typing import Final

import numpy as np
import pandas as pd

from ml_project.contract import Contract
from ml_project.contract_file import parse_contract

SHOP_YAML: Final = """\
contract: shop
fields:
  seconds of the day: {type: number, role: time, minimum: 0}
  betrag.in.€: {type: number, role: amount, minimum: 0, example: 12.5}
  class: {type: number}
  1st: {type: number, minimum: -50, maximum: 50}
  select "all": {type: number}
  no: {type: number}
label: {field: "is fraud?"}
features:
  hour: {hour_of_day: seconds of the day}
  betrag.in.€: {value: betrag.in.€}
  class: {value: class, monotone: learnt}
  1st: {value: 1st}
  select "all": {value: select "all", left_out: it says nothing}
  no: {value: no}
  betrag_log: {log1p: betrag.in.€, description: logarithm of the amount}
  betrag_z: {zscore: betrag.in.€}
  class_to_1st: {ratio: [class, 1st]}
  log_to_ratio: {ratio: [betrag_log, class_to_1st]}
  afternoon: {hour_of_day: seconds of the day, between: [12, 18]}
  large: {value: betrag.in.€, above: 40}
  spread: {variance: [class, 1st, no]}
"""

SHOP: Final[Contract] = parse_contract(SHOP_YAML.encode(), "shop.yaml")


def shop_transactions(rows: int, seed: int, frauds: float = 0.03) -> pd.DataFrame:
    """Transactions in time order; frauds have a high ``class`` and a low ``1st``."""
    rng = np.random.default_rng(seed)
    fraud = rng.random(rows) < frauds
    values = rng.normal(size=(rows, 4)) + np.outer(fraud, [2.5, -2.5, 0.0, 0.5])
    frame = pd.DataFrame(values, columns=["class", "1st", 'select "all"', "no"])
    frame.insert(0, "betrag.in.€", np.round(rng.exponential(20, rows), 2))
    frame.insert(0, "seconds of the day", np.sort(rng.uniform(0, 3 * 86_400, rows)).round())
    return frame.assign(**{"is fraud?": fraud.astype(int)})
