"""Score one transaction over HTTP and print the decision, the score beside its threshold, and the reasons.

    python examples/score_transaction.py
    python examples/score_transaction.py --transaction my.json --gateway https://fraud.bank.example

Without --transaction a sample from the live model's card is sent.
FRAUD_API_KEY holds the key where the gateway asks for one.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import httpx


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gateway", default="http://127.0.0.1:8000", help="its address (default: %(default)s)")
    parser.add_argument("--transaction", type=Path, help="JSON file with one transaction")
    options = parser.parse_args()
    key = os.environ.get("FRAUD_API_KEY")
    with httpx.Client(base_url=options.gateway, headers={"X-API-Key": key} if key else {}) as client:
        if options.transaction:
            transaction = json.loads(options.transaction.read_text())
        else:
            [transaction, *_] = [sample["transaction"] for sample in client.get("/model").json()["card"]["samples"]]
        answer = client.post("/predict", params={"explain": "true"}, json=transaction)
    if answer.is_error:
        print(answer.json()["detail"], file=sys.stderr)
        return 2
    prediction = answer.json()
    decision, version, prediction_id = (prediction[name] for name in ("decision", "model_version", "prediction_id"))
    print(f"{decision} by version {version}, prediction {prediction_id}")
    print(f"score {prediction['hybrid_score']:.6f}, alert threshold {prediction['threshold_used']:.6f}")
    print(f"fraud probability {prediction['fraud_probability']:.4%}")
    for reason in prediction["reasons"]:
        said = reason.get("sentence") or f"{reason['feature']} = {reason['value']}"
        print(f"  {reason['contribution']:+8.3f}  {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
