"""The training farm: python train.py BUNDLE OUT.

Reads an exported job (telemetry.cbor, base_model.ref, policy.toml), fits a LoRA adapter of rank 2 to the records by
gradient descent (the base weights stay as they are), and writes it as PEFT does: adapter_model.safetensors and
adapter_config.json, with metrics.json beside them. Fails unless the loss on records that it held out falls.
"""

import json
import sys
from pathlib import Path

import cbor2
import numpy as np
from safetensors.numpy import save_file

from law import BUCKETS, INPUTS, base_law, features

RANK = 2
STEPS = 2000
RATE = 0.05


def load(bundle: Path) -> tuple[str, list[dict]]:
    base = (bundle / "base_model.ref").read_text().strip()
    exported = cbor2.loads((bundle / "telemetry.cbor").read_bytes())
    records = [json.loads(record) if isinstance(record, (str, bytes)) else record for record in exported["records"]]
    assert records, "the job has no records"
    return base, records


def loss(weights: np.ndarray, inputs: np.ndarray, seen: np.ndarray) -> float:
    return float(np.mean((inputs @ weights.T - seen) ** 2))


def main() -> None:
    bundle, out = Path(sys.argv[1]), Path(sys.argv[2])
    base, records = load(bundle)
    inputs = np.stack([features(record) for record in records])
    seen = np.stack([np.array(record["latency_histogram"]) / 1000 for record in records])
    order = np.random.default_rng(0).permutation(len(records))
    held, used = order[: len(order) // 5], order[len(order) // 5 :]

    frozen = base_law(base)
    random = np.random.default_rng(1)
    a = random.normal(0, 0.1, (RANK, INPUTS))
    b = np.zeros((BUCKETS, RANK))
    before = loss(frozen, inputs[held], seen[held])
    for _ in range(STEPS):
        error = inputs[used] @ (frozen + b @ a).T - seen[used]
        slope = 2 * error.T @ inputs[used] / error.size
        b, a = b - RATE * BUCKETS * slope @ a.T, a - RATE * BUCKETS * b.T @ slope
    after = loss(frozen + b @ a, inputs[held], seen[held])
    assert after < before / 4, f"the held-out loss went from {before} to {after}"

    out.mkdir(parents=True, exist_ok=True)
    prefix = "base_model.model.latency"
    save_file(
        {f"{prefix}.lora_A.weight": a.astype(np.float32), f"{prefix}.lora_B.weight": b.astype(np.float32)},
        out / "adapter_model.safetensors",
    )
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": ["latency"],
    }
    (out / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    metrics = {"records": len(records), "held_out": len(held), "loss_before": before, "loss_after": after}
    (out / "metrics.json").write_text(json.dumps(metrics) + "\n")
    print(f"trained on {len(used)} records: held-out loss {before:.6f} -> {after:.6f}")


if __name__ == "__main__":
    main()
