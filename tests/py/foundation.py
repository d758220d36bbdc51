"""Operates a hive with the public client from PyPI: python foundation.py HOST PORT TOKEN."""

import json
import sys
import time

from cohesix.backends import TcpBackend
from cohesix.errors import CohesixError


def ticks(backend: TcpBackend, path: str) -> list[int]:
    text = backend.tail_file(path, 8192).decode()
    return [json.loads(line)["tick"] for line in text.splitlines() if line]


def main() -> None:
    host, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    backend = TcpBackend(host, port, token, "queen", None)

    names = backend.list_dir("/")
    assert {"log", "proc", "queen", "worker"} <= set(names), names
    boot = backend.read_file("/proc/boot", 8192).decode()
    assert boot.startswith("Cohesix boot:"), boot
    backend.write_append("/log/queen.log", b"pypi was here\n")
    assert "pypi was here" in backend.read_file("/log/queen.log", 1 << 20).decode()

    before = set(backend.list_dir("/worker"))
    backend.write_append("/queen/ctl", b'{"spawn":"heartbeat","ticks":100,"budget":{"ttl_s":60,"ops":1000}}\n')
    (worker,) = {name for name in set(backend.list_dir("/worker")) - before if name.startswith("worker-")}
    telemetry = f"/worker/{worker}/telemetry"
    first = ticks(backend, telemetry)
    deadline = time.monotonic() + 10
    while len(ticks(backend, telemetry)) < len(first) + 2:
        assert time.monotonic() < deadline, "the ticks do not advance"
        time.sleep(0.2)
    seen = ticks(backend, telemetry)
    assert seen == list(range(1, len(seen) + 1)), seen

    backend.write_append("/queen/ctl", json.dumps({"kill": worker}).encode())
    assert worker not in backend.list_dir("/worker")
    for refused in (lambda: backend.tail_file(telemetry, 8192), lambda: backend.write_append("/queen/ctl", b"{}")):
        try:
            refused()
        except CohesixError as error:
            assert "reason=policy" in str(error), error
        else:
            raise AssertionError("what is gone or wrong was not refused")
    backend.close()

    try:
        TcpBackend(host, port, "not-the-token", "queen", None)
    except CohesixError as error:
        assert "AUTH" in str(error), error
    else:
        raise AssertionError("a wrong token got in")
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
