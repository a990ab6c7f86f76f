"""Tell the gateway what a transaction turned out to be: `monitor` measures with labels, `retrain` learns from them.

    python examples/send_label.py 019a8c5e-4b1f-7c3a-9d52-6f0e8b7a1c24 fraud
    python examples/send_label.py --transaction-id card-7-0001 legitimate

A label may be sent twice; the newest counts. FRAUD_API_KEY needs the scope `feedback` where the gateway asks for a key.
"""

import argparse
import os
import sys

import httpx


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="prediction id, or with --transaction-id the bank's own id")
    parser.add_argument("label", choices=["fraud", "legitimate"])
    parser.add_argument("--transaction-id", action="store_true", help="NAME is a transaction id")
    parser.add_argument("--gateway", default="http://127.0.0.1:8000", help="its address (default: %(default)s)")
    options = parser.parse_args()
    key = os.environ.get("FRAUD_API_KEY")
    answer = httpx.post(
        f"{options.gateway}/feedback",
        headers={"X-API-Key": key} if key else {},
        json={("transaction_id" if options.transaction_id else "prediction_id"): options.name, "label": options.label},
    )
    print(answer.text)
    return 2 if answer.is_error else 0


if __name__ == "__main__":
    sys.exit(main())
