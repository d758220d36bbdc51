"""The public client on a host's files: python registry.py VERB DIR [ARGUMENT ..].

DIR/adapter has an adapter by the public names, DIR/out exported jobs, DIR/registry a registry. Verbs:
export JOB HOST PORT TOKEN | import MODEL JOB | activate MODEL | rollback | state | die-activating MODEL.
A refusal is printed and ends with status 1.
"""

import os
import signal
import sys
from pathlib import Path

import cohesix.client
from cohesix.backends import TcpBackend
from cohesix.client import CohesixClient, load_state
from cohesix.defaults import DEFAULTS
from cohesix.errors import CohesixError


def state(registry: Path) -> None:
    now = load_state(registry, DEFAULTS["coh"]["peft"]["activate"])
    print(f"{now['current'] or '-'} {now['previous'] or '-'}")


def die_at_the_pointer(path: Path, payload: bytes) -> None:
    if path.name == "active":
        os.kill(os.getpid(), signal.SIGKILL)
    write_atomic(path, payload)


write_atomic = cohesix.client.write_atomic


def main(verb: str, directory: Path, *rest: str) -> None:
    registry, out = directory / "registry", directory / "out"
    # Only an export talks to a hive.
    client = CohesixClient(None)
    match verb, *rest:
        case "export", job, host, port, token:
            CohesixClient(TcpBackend(host, int(port), token, "queen", None)).peft_export(job, out)
        case "import", model, job:
            client.peft_import(model, directory / "adapter", out, job, registry)
        case "activate", model:
            client.peft_activate(model, registry)
        case ("rollback",):
            client.peft_rollback(registry)
        case ("state",):
            state(registry)
        case "die-activating", model:
            cohesix.client.write_atomic = die_at_the_pointer
            client.peft_activate(model, registry)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
    except CohesixError as error:
        print(error)
        sys.exit(1)
