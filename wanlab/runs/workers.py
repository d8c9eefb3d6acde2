"""Several processes that work at the same time: on this machine, under a batch system, or on a Dask cluster that is there.

    with workers.pool(count, cluster) as client:
        for number, outcome in workers.each(client, function, tasks, count):

Knows nothing of video: a task is the arguments of a function. What a worker cannot answer for is its own death: then
another one gets the task, once.
"""

from __future__ import annotations

import collections
import contextlib
import inspect
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wanlab import config, files

if TYPE_CHECKING:
    from distributed import Client, Future, Security

MAX_DEATHS = 2  # so many workers may die at a task before it is given up
LOOK_EVERY = 2.0  # seconds between two looks for workers that came or went
SAY_EVERY = 60.0  # seconds between two words that there is no worker
BATCH_SYSTEMS = {
    "slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster", "oar": "OARCluster",
    "moab": "MoabCluster", "htcondor": "HTCondorCluster",
}  # fmt: skip


class WorkerDiedError(RuntimeError):
    """The processes that worked on a task died."""


@contextlib.contextmanager
def pool(count: int | None, cluster: Path | str | None, gpus: int = 0) -> Iterator[Client]:
    """Open workers, and close those that were opened here when it ends.

    Args:
        count: workers to open; None: one. Those of an address are there already.
        cluster: None: processes on this machine, reachable from it alone; an address: a scheduler that runs; a YAML
            file: `address` with its `tls_…` files, or what dask-jobqueue's cluster of `type` (slurm, …) takes.
        gpus: GPUs of this machine, of which each worker on it gets one; 0: the processor is all there is.

    Raises:
        SettingsError: more workers than GPUs, a file that is not as above, or a scheduler that cannot be reached.
        FileNotFoundError: if the file is not there.
    """
    from dask.config import set as dask_config
    from distributed import Client

    quiet = {  # a worker that takes long computes, it is not dead; `each` reports what its end means
        "distributed.scheduler.worker-ttl": None,
        "distributed.scheduler.allowed-failures": 0,
        # Dask's own gives torch one thread, which would change the last bits; threads that wait must not spin
        "distributed.nanny.pre-spawn-environ": {"MALLOC_TRIM_THRESHOLD_": 65536, "OMP_WAIT_POLICY": "PASSIVE"},
    }
    level = logging.getLogger("distributed").level
    with contextlib.ExitStack() as ends:
        if cluster is None:  # the user's settings of Dask are meant for the user's clusters
            ends.enter_context(dask_config(_defaults()))
        ends.enter_context(dask_config(quiet))
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
        ends.callback(logging.getLogger("distributed").setLevel, level)
        if cluster is None:
            place: Any = ends.enter_context(_on_this_machine(count or 1, gpus))
            security = None
        elif isinstance(cluster, str):
            place, security = cluster, None
        else:
            place, security = _from_file(cluster, count or 1, ends)
            if not isinstance(place, str):
                ends.enter_context(place)
        try:
            client = ends.enter_context(Client(place, security=security, set_as_default=False))
        except (OSError, ValueError, AssertionError) as error:
            raise config.SettingsError(
                f"cluster must be a scheduler that can be reached, got {place} ({error}); start one there: dask scheduler"
                + _settings_files()
            ) from None
        yield client


def each(
    client: Client, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], count: int | None = None
) -> Iterator[tuple[int, Any]]:
    """Call `function` with each of the tasks, one at a time in each worker, and yield what came of it as it comes.

    Args:
        client: from `pool`.
        function: a module's; the workers import it.
        tasks: arguments per call.
        count: how many calls at a time; None: as many as there are workers.

    Yields:
        number of the task from 0, and what the call returned, or the exception that it raised: a `WorkerDiedError`
        where MAX_DEATHS workers died at it.
    """
    from distributed import wait

    waiting = collections.deque(enumerate(tasks))
    running: dict[Future, tuple[str, int, tuple[Any, ...]]] = {}
    deaths: collections.Counter[int] = collections.Counter()
    said = time.monotonic()
    while waiting or running:
        present = set(client.scheduler_info()["workers"])
        for future, (worker, number, task) in list(running.items()):
            if not future.done() and worker in present:
                continue
            del running[future]
            try:
                outcome = _result(future)
            except WorkerDiedError as error:
                deaths[number] += 1
                if deaths[number] < MAX_DEATHS:
                    waiting.appendleft((number, task))
                    continue
                outcome = error
            except Exception as error:  # whatever the call raised
                outcome = error
            yield number, outcome
        busy = {worker for worker, _, _ in running.values()}
        for worker in sorted(present - busy)[: None if count is None else max(count - len(busy), 0)]:
            if waiting:
                number, task = waiting.popleft()
                future = client.submit(function, *task, workers=[worker], pure=False)
                running[future] = worker, number, task
        if running:
            said = time.monotonic()
            with contextlib.suppress(TimeoutError), client.as_current():
                wait(list(running), timeout=LOOK_EVERY, return_when="FIRST_COMPLETED")
        elif waiting:
            _ask_again(client, count)
            if time.monotonic() - said > SAY_EVERY:
                said = time.monotonic()
                print(f"no worker is there yet, {len(waiting)} tasks wait", flush=True)
            time.sleep(LOOK_EVERY / 4)


def _result(future: Future) -> Any:
    """Return what a call returned, or raise what it raised, WorkerDiedError where its worker is gone."""
    from distributed import KilledWorker

    try:
        if not future.done():
            raise TimeoutError
        return future.result(timeout=30)
    except (KilledWorker, TimeoutError):  # the result is lost
        future.cancel()
        raise WorkerDiedError(f"{MAX_DEATHS} workers died at it, likely out of memory") from None


def _ask_again(client: Client, count: int | None) -> None:
    """Have the batch system replace jobs that came to their time limit."""
    cluster: Any = client.cluster
    if hasattr(cluster, "job_cls"):  # dask-jobqueue's
        cluster.scale(jobs=count or 1)


def _defaults() -> dict[str, Any]:
    """Return Dask's own settings, without those of the user's files and environment."""
    import dask.config
    import distributed  # noqa: F401  # its settings are among them once it is loaded

    return dask.config.merge(*dask.config.defaults)


def _settings_files() -> str:
    """Return a phrase that names the user's files of Dask settings, which hold for a cluster that wanlab did not open."""
    from dask.config import paths

    found = [
        path for place in map(Path, paths) for path in (sorted(place.glob("*.y*ml")) if place.is_dir() else [place])
    ]
    return f", or look at Dask's settings in {', '.join(map(str, found))}" if any(map(Path.is_file, found)) else ""


def _on_this_machine(count: int, gpus: int) -> Any:
    """Return a cluster of processes on 127.0.0.1, each with a GPU of its own where there are GPUs.

    Others on this machine reach 127.0.0.1 too, and who may give a worker orders runs code as its user: only who holds the
    certificate made here, in memory, is heard.
    """
    from distributed import Nanny, Security, SpecCluster

    from wanlab.runs.silent import SilentScheduler, SilentWorker

    if gpus and count > gpus:
        raise config.SettingsError(f"workers must be at most {gpus}, the number of GPUs, got {count}; use {gpus}")
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    names = visible or [str(n) for n in range(gpus)]
    security = Security.temporary()
    here: dict[str, Any] = {"host": "127.0.0.1", "dashboard": False, "protocol": "tls://", "security": security}
    workers = {
        n: {
            "cls": Nanny,
            "options": {
                **here,
                "worker_class": SilentWorker,
                "nthreads": 1,
                "preload": __name__,
                "memory_limit": None,  # Dask would end a worker at 95 % of its share: a model takes what it takes
                "silence_logs": logging.CRITICAL,
                "env": {"CUDA_VISIBLE_DEVICES": names[n]} if gpus else {},
            },
        }
        for n in range(count)
    }
    scheduler = {"cls": SilentScheduler, "options": here}
    return SpecCluster(scheduler=scheduler, workers=workers, security=security, silence_logs=logging.CRITICAL)  # pyright: ignore[reportArgumentType]


def dask_setup(_: Any) -> None:
    """Let a worker of this machine ignore Ctrl-C, which reaches all of a terminal's processes: the sweep ends it in peace."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def read_file(file: Path) -> tuple[str | None, dict[str, Any], dict[str, str]]:
    """Return what stands in a cluster file: the batch system's class, None with an address; its options; the TLS files.

    Raises:
        SettingsError, FileNotFoundError: as `pool`.
    """
    path = config.absolute(file)
    if not path.is_file():
        raise FileNotFoundError(f"cluster must be an address or a file that exists, got {file}; use tcp://host:8786")
    options = config.read_mapping(path)
    tls = {name: options.pop(name) for name in list(options) if name.startswith("tls_")}
    if "address" in options:
        return None, options, tls
    kind = str(options.pop("type", "slurm"))
    if kind not in BATCH_SYSTEMS:
        raise config.SettingsError(config.unknown_choice("type", kind, tuple(BATCH_SYSTEMS)) + f" (in {path.name})")
    jobqueue = _jobqueue()
    options = {"processes": 1, **options}  # Dask's own is several for a job: they would share its GPU
    of_job = {
        name: options[name] for name in set(options) - set(inspect.signature(jobqueue.JobQueueCluster).parameters)
    }
    try:  # a cluster that fails to open leaves noise behind, a job that is only described does not
        getattr(jobqueue, BATCH_SYSTEMS[kind]).job_cls("", "wanlab", **of_job)
    except (TypeError, ValueError) as error:
        raise config.SettingsError(
            f"{path.name} must hold what dask-jobqueue's {BATCH_SYSTEMS[kind]} takes, got {', '.join(options)}: {error}"
        ) from None
    return BATCH_SYSTEMS[kind], options, tls


def _jobqueue() -> Any:
    """Return dask-jobqueue; its import turns an interrupt into the end of the process, which is undone here."""
    before = signal.getsignal(signal.SIGINT)
    import dask_jobqueue

    signal.signal(signal.SIGINT, before)
    return dask_jobqueue


def _from_file(file: Path, count: int, ends: contextlib.ExitStack) -> tuple[Any, Security | None]:
    """Return what a cluster file stands for, an address or a cluster of jobs that are asked for; and its TLS settings."""
    from distributed import Security

    kind, options, tls = read_file(file)
    security = Security(require_encryption=True, **tls) if tls else None
    if kind is None:
        return str(options["address"]), security
    from wanlab.runs import silent

    cluster = getattr(_jobqueue(), kind)(
        **{
            "security": security or _shared_certificate(ends),
            "scheduler_cls": silent.SilentScheduler,
            **options,
            "scheduler_options": {"dashboard": False, **options.get("scheduler_options", {})},
            "worker_extra_args": [
                *("--worker-class", f"{silent.__name__}.{silent.SilentWorker.__name__}"),
                *options.get("worker_extra_args", ()),
            ],
        }
    )
    cluster.scale(jobs=count)
    return cluster, None  # the cluster brings its own


def _shared_certificate(ends: contextlib.ExitStack) -> Security:
    """Return a new certificate for a batch system's jobs, which read it from a folder below outputs until `ends` ends.

    Outputs are shared with the jobs anyway; the folder can be read by this user alone.
    """
    from distributed import Security

    root = files.make_folder(config.outputs_root())
    folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix=".certificate-", dir=root)))
    made = Security.temporary().get_tls_config_for_role("worker")
    paths = {name: str(folder / f"{name}.pem") for name in ("ca_file", "cert", "key")}
    for name, path in paths.items():
        files.write_text(Path(path), made[name])
    roles = {
        f"tls_{role}_{name}": paths[name] for role in ("scheduler", "worker", "client") for name in ("cert", "key")
    }
    return Security(require_encryption=True, tls_ca_file=paths["ca_file"], **roles)
