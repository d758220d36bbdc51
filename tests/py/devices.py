"""Five simulated edge devices whose load has drifted: python devices.py OUT MODEL [RECORDS_PER_DEVICE].

Writes OUT/<device>.ndjson, one gpu-telemetry/v1 record a line. What a device sees is a latency histogram that depends
on its input (confidence, entropy, tokens) by the base model's law plus a change that the base model does not know:
that change is what there is to learn.
"""

import json
import sys
from pathlib import Path

import numpy as np

from law import BUCKETS, base_law, features, hidden_change


def records(device: str, seed: int, model: str, count: int):
    random = np.random.default_rng(seed)
    law = base_law(model) + hidden_change()
    for n in range(count):
        record = {
            "schema_version": "gpu-telemetry/v1",
            "device_id": device,
            "model_id": model,
            "time_window": {"start_ms": 1_700_000_000_000 + n * 1000, "end_ms": 1_700_000_001_000 + n * 1000},
            "token_count": int(random.integers(64, 2048)),
            "confidence": round(float(random.uniform(0.3, 0.99)), 4),
            "entropy": round(float(random.uniform(0.1, 2.5)), 4),
            "drift": round(float(random.uniform(0.25, 0.6)), 4),
        }
        seen = law @ features(record) + random.normal(0, 0.01, BUCKETS)
        record["latency_histogram"] = [int(x) for x in np.clip(np.round(seen * 1000), 0, None)]
        yield record


def main() -> None:
    out, model = Path(sys.argv[1]), sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 100
    out.mkdir(parents=True, exist_ok=True)
    for n in range(1, 6):
        device = f"jetson-{n}"
        lines = (json.dumps(record, separators=(",", ":")) for record in records(device, n, model, count))
        (out / f"{device}.ndjson").write_text("".join(line + "\n" for line in lines))


if __name__ == "__main__":
    main()
