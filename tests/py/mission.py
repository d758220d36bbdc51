"""The mission's verbs with the public client from PyPI: python mission.py HOST PORT TOKEN DIR.

DIR/records has the devices' records (devices.py), and DIR/registry a registry whose models are published.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from cohesix.backends import TcpBackend
from cohesix.client import CohesixClient, GpuLeaseArgs
from cohesix.errors import CohesixError
from safetensors.numpy import save_file

BASE = "vision-base-v1"
ADAPTED = "pypi-field-v1"


def refused(action) -> str:
    try:
        action()
    except CohesixError as error:
        return str(error)
    raise AssertionError("what is wrong was not refused")


def lines(backend: TcpBackend, path: str) -> list[str]:
    return [line for line in backend.read_file(path, 1 << 20).decode().splitlines() if line]


def gpus(client: CohesixClient, backend: TcpBackend) -> None:
    infos = {info["id"]: info for info in client.gpu_list()}
    assert {"GPU-0", "GPU-1"} <= set(infos), infos
    assert infos["GPU-1"]["memory_mb"] > 0 and infos["GPU-1"]["sm_count"] > 0
    assert "no active lease" in refused(lambda: client.run_command("GPU-1", ["true"]))
    client.gpu_lease(GpuLeaseArgs("GPU-1", 512, 1, 60, priority=1))
    lease = json.loads(lines(backend, "/gpu/GPU-1/lease")[-1])
    assert lease["state"] == "ACTIVE" and lease["mem_mb"] == 512, lease
    too_much = GpuLeaseArgs("GPU-1", infos["GPU-1"]["memory_mb"], 1, 60)
    assert "reason=busy" in refused(lambda: client.gpu_lease(too_much))
    client.run_command("GPU-1", ["true"])
    crumb = json.loads(client.gpu_status("GPU-1"))
    assert (crumb["event"], crumb["status"], crumb["exit_code"]) == ("EXIT", "OK", 0), crumb
    assert "exited with code 1" in refused(lambda: client.run_command("GPU-1", ["false"]))
    client.queen_kill(lease["worker_id"])
    assert json.loads(lines(backend, "/gpu/GPU-1/lease")[-1])["state"] == "RELEASED"
    assert "no active lease" in refused(lambda: client.run_command("GPU-1", ["true"]))


def telemetry(client: CohesixClient, backend: TcpBackend, directory: Path) -> str:
    before = set(backend.list_dir("/queen/export/lora_jobs"))
    pushed = client.telemetry_push("pypi-device", "line one\nline two\n" * 400)
    assert pushed["mode"] == "inline" and pushed["records"] > 1, pushed
    for file in sorted((directory / "records").glob("*.ndjson")):
        device = f"pypi-{file.stem}"
        backend.write_append(f"/queen/telemetry/{device}/ctl", b'{"new":"segment","mime":"application/x-ndjson"}')
        segment = lines(backend, f"/queen/telemetry/{device}/latest")[-1]
        for record in file.read_text().splitlines():
            backend.write_append(f"/queen/telemetry/{device}/seg/{segment}", record.encode())
    devices, segments, size = client.telemetry_pull(directory / "pulled")
    assert devices >= 6 and segments >= 6 and size > 100_000, (devices, segments, size)
    pulled = (directory / "pulled/pypi-jetson-1/seg/seg-000001").read_text().splitlines()
    assert pulled == (directory / "records/jetson-1.ndjson").read_text().splitlines()
    deadline = time.monotonic() + 30
    while not (fresh := set(backend.list_dir("/queen/export/lora_jobs")) - before):
        assert time.monotonic() < deadline, "no job for the records"
        time.sleep(0.1)
    return fresh.pop()


def models(client: CohesixClient, directory: Path, job: str) -> None:
    export, registry, adapter = directory / "export", directory / "registry", directory / "adapter"
    client.peft_export(job, export)
    assert (export / job / "base_model.ref").read_text().strip() == BASE
    adapter.mkdir()
    save_file({"lora_A.weight": np.ones((2, 4), np.float32)}, adapter / "adapter.safetensors")
    (adapter / "lora.json").write_text('{"r": 2}\n')
    client.peft_import(ADAPTED, adapter, export, job, registry)
    assert "already imported" in refused(lambda: client.peft_import(ADAPTED, adapter, export, job, registry))
    client.peft_activate(ADAPTED, registry)
    client.peft_rollback(registry)
    client.peft_activate(ADAPTED, registry)


def main() -> None:
    host, port, token, directory = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    backend = TcpBackend(host, port, token, "queen", None)
    client = CohesixClient(backend)
    gpus(client, backend)
    job = telemetry(client, backend, directory)
    models(client, directory, job)
    backend.close()
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
