"""Stands in for torchrun: starts the script N times, each process in a session of its own, as torchrun does."""

import argparse
import os
import signal
import subprocess
import sys


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--standalone", action="store_true")
    parser.add_argument("--nnodes", type=str, default="1:1")
    parser.add_argument("--nproc_per_node", "--nproc-per-node", type=str, default="1")
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    world = int(args.nproc_per_node)
    workers = [
        subprocess.Popen(
            [sys.executable, "-u", args.script, *args.arguments],
            env={**os.environ, "RANK": str(n), "LOCAL_RANK": str(n), "WORLD_SIZE": str(world)},
            start_new_session=True,
        )
        for n in range(world)
    ]

    def stop(*_: object) -> None:
        for worker in workers:
            os.killpg(worker.pid, signal.SIGTERM)
        sys.exit(143)

    signal.signal(signal.SIGTERM, stop)
    sys.exit(max(worker.wait() for worker in workers))


main()
