"""Workers: the same frames however many there are, deaths, batch systems, clusters that run already."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from wanlab import config, media, runs
from wanlab.model import checkpoints
from wanlab.runs import manage, workers
from wanlab.steps import denoise, generate, segment_files, sweep


def settings(folder: Path, **more: object) -> config.SweepSettings:
    chosen = {"inputs": str(folder), "checkpoint": checkpoints.NANO, "segment_frame_length": 5, "guidance_scale": 1}
    return config.SweepSettings.build({**chosen, "num_inference_steps": 2, "grid": {"seed": [1, 2]}, **more})


WORK = """
import os, signal
from wanlab.steps import generate

def work(run, loaded):
    if run.settings.seed == 2:
        open({deaths!r}, "a").write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    if run.settings.seed == 3:
        raise FloatingPointError("black")
    with run.working():
        run.path("inputs.txt").write_text(str(run.settings.inputs))

generate.work = work
"""


@pytest.fixture
def deaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have all workers kill themselves at seed 2, fail at seed 3 and be ready at once with others.

    Returns:
        a file with an x per death.
    """
    place = tmp_path / "first"
    place.mkdir()
    file = place / "deaths"
    (place / "sitecustomize.py").write_text(WORK.format(deaths=str(file)))  # Python imports it by itself
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(place), str(config.project_root())]))
    return file


def frames_of(entries: list) -> list[np.ndarray]:
    return [media.read_video(runs.find_run(entry["run"]).path(denoise.MASTER)).frames for entry in entries]


def swept(settings_: config.SweepSettings) -> tuple[runs.Run, list]:
    run = sweep.prepare(settings_)
    return run, sweep.work(run)


@pytest.mark.slow
def test_one_of_two_workers_is_killed(
    outputs: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    """Another takes its point from the last finished segment; all frames are those of a sweep without workers.

    Also to the last bit, which depends on the number of torch's threads: here they are two, in a worker one by itself.
    """
    threads = torch.get_num_threads()
    request.addfinalizer(lambda: torch.set_num_threads(threads))
    torch.set_num_threads(2)
    monkeypatch.setenv("WANLAB_OUTPUTS", str(outputs / "alone"))
    _, entries = swept(settings(folder))
    expected = frames_of(entries)
    monkeypatch.setattr(generate, "work", lambda *_: pytest.fail("the sweep's own process must not generate"))
    monkeypatch.setenv("WANLAB_OUTPUTS", str(outputs))
    run = sweep.prepare(settings(folder, workers=2))
    killed: list[str] = []

    def kill() -> None:
        """Kill the first worker that has finished a segment and not yet its point."""
        while not killed:
            for made in runs.list_runs("generate"):
                owner = runs.owner(made.folder)
                if made.status == "running" and owner and (made.folder / segment_files.SEGMENTS / "000.npy").is_file():
                    os.kill(owner.pid, signal.SIGKILL)
                    killed.append(made.id)
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    entries = sweep.work(run)
    killer.join()
    sweep.finish(run)
    assert killed[0] in [entry["run"] for entry in entries]
    assert runs.find_run(killed[0]).manifest["denoise_calls"] <= 2 * 2 + 2  # no finished segment was made again
    for ours, theirs in zip(expected, frames_of(entries), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "all 2 points are finished" in capsys.readouterr().out


@pytest.mark.slow
def test_one_worker_goes_on_from_a_preview(outputs: Path, folder: Path) -> None:
    _, looked = swept(settings(folder, preview_steps=1, grid={"seed": [1, 2]}))
    _, entries = swept(settings(folder, workers=1, finish=[2], grid={"seed": [1, 2]}))
    assert [entry["status"] for entry in entries] == ["begun", "completed"]
    assert entries[1]["run"] == looked[1]["run"]
    assert runs.find_run(entries[1]["run"]).manifest["denoise_calls"] == 2 * 2
    _, alone = swept(settings(folder, fresh=True, grid={"seed": [2]}))
    np.testing.assert_array_equal(frames_of(entries[1:])[0], frames_of(alone)[0])


def test_a_point_that_kills_its_worker_or_fails_takes_no_other_with_it(
    outputs: Path, folder: Path, deaths: Path
) -> None:
    run, entries = swept(settings(folder, workers=2, grid={"seed": [1, 2, 3, 4]}))
    assert [entry["status"] for entry in entries] == ["completed", "failed", "failed", "completed"]
    assert entries[1]["error"].startswith("WorkerDiedError: 2 workers died at it")
    assert entries[1]["run"]  # what it had finished is kept there
    assert entries[2]["error"] == "FloatingPointError: black"
    assert deaths.read_text() == "x" * workers.MAX_DEATHS
    with pytest.raises(sweep.PointsFailedError, match=r"point 2 \(seed 2\): WorkerDiedError"):
        sweep.finish(run)


@pytest.mark.slow
def test_a_worker_leaves_a_point_to_the_process_that_works_on_it(
    outputs: Path, folder: Path, deaths: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = settings(folder, workers=1, grid={"seed": [1, 4]})
    first = generate.prepare(sweep.points(chosen)[0].settings)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom wanlab import runs\nfrom wanlab.files import locks\n"
        "with locks.held(Path(sys.argv[1]) / runs.LOCK, 'it'):\n    print(flush=True)\n"
        "    while not any(run.completed for run in runs.list_runs('generate')):\n        time.sleep(0.05)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(first.folder)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        run, entries = swept(chosen)
        sweep.finish(run)
    assert [entry["status"] for entry in entries] == ["completed"] * 2
    assert f"process {other.pid} of this machine works on it; it is looked at again" in capsys.readouterr().out


def test_a_swept_mask_chain_reaches_the_worker(outputs: Path, replacing: Path, deaths: Path) -> None:
    run, entries = swept(settings(replacing, workers=1, grid={"mask_chain": ["grow:4", "snap:16"]}))
    sweep.finish(run)
    made = [runs.find_run(entry["run"]) for entry in entries]
    used = [each.path("inputs.txt").read_text() for each in made]
    assert used == [str(runs.find_run(each.manifest["parents"][0]).folder) for each in made]
    assert len(set(used)) == 2


def test_a_worker_of_another_source_or_disk_refuses(outputs: Path, folder: Path) -> None:
    run = sweep.prepare(settings(folder))
    point = sweep.points(run.settings)[0].settings
    said = sweep._work_there((str(outputs), "other", 1), "x", point, None)
    assert "wanlab must be the same on all workers" in said["error"]
    said = sweep._work_there((str(outputs), runs.source_hash(), 1), "x", point, None)
    assert "outputs must be seen by all workers, and this one does not see it" in said["error"]


@pytest.mark.slow
def test_workers_end_with_the_one_who_asked(outputs: Path, folder: Path) -> None:
    code = (
        "import json, sys\nfrom wanlab import config\nfrom wanlab.steps import sweep\n"
        "sweep.work(sweep.prepare(config.SweepSettings.build(json.loads(sys.argv[1]))))"
    )
    values = json.loads(settings(folder, workers=1, num_inference_steps=200).model_dump_json())
    with subprocess.Popen([sys.executable, "-c", code, json.dumps(values)], stdout=subprocess.DEVNULL) as process:
        owner = None
        while owner is None:
            running = [run for run in runs.list_runs("generate") if run.status == "running"]
            owner = runs.owner(running[0].folder) if running else None
            assert process.poll() is None
            time.sleep(0.05)
        assert owner.pid != process.pid
        point = running[0]
        with pytest.raises(RuntimeError, match="must not be cancelled alone, sweep .* works on it"):
            manage.cancel(point)
        assert manage.working().manifest["step"] == "sweep"
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while runs.Run(point.folder).status == "running":
        assert time.monotonic() < deadline, "the worker goes on without its sweep"
        time.sleep(0.1)


PATIENT_WORK = """
import time
import urllib.error
import urllib.request
from wanlab.steps import generate

def work(run, loaded):
    with run.working():
        for _ in run.progress.iterate(range(1000), "denoise", 1000):
            time.sleep(0.1)

generate.work = work
"""


@pytest.mark.parametrize("count", [pytest.param(2, marks=pytest.mark.slow), None])
def test_an_interrupt_cancels_the_sweep_and_the_points_in_work(
    outputs: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int | None
) -> None:
    """It reaches every process of the group, as a terminal's Ctrl-C and JupyterLab's interrupt do."""
    (tmp_path / "sitecustomize.py").write_text(PATIENT_WORK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(config.project_root())]))
    code = (
        "import json, sys\nfrom wanlab import config\nfrom wanlab.steps import sweep\n"
        "sweep.work(sweep.prepare(config.SweepSettings.build(json.loads(sys.argv[1]))))"
    )
    values = settings(folder, workers=count, grid={"seed": [1, 2, 3]}).model_dump_json()
    command = [sys.executable, "-c", code, values]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        deadline = time.monotonic() + 120
        while sum((run.folder / runs.PROGRESS).is_file() for run in runs.list_runs("generate")) < (count or 1):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate()
    assert said.rstrip().endswith("KeyboardInterrupt")
    (run,) = runs.list_runs("sweep")
    points = [point["status"] for point in run.manifest["points"]]
    assert (run.status, sorted(points)) == (
        "cancelled",
        ["cancelled"] * (count or 1) + ["pending"] * (3 - (count or 1)),
    )
    made = {point.status for point in runs.list_runs("generate")}
    assert made == ({"cancelled", "pending"} if count else {"cancelled"})


def executable(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_batch_system_gives_the_workers(
    outputs: Path, folder: Path, tmp_path: Path, deaths: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM's two commands are stood in for by scripts that start the job on this machine."""
    place = tmp_path / "slurm"
    place.mkdir()
    executable(place / "sbatch", f'cp "$1" {place}/$$.job; setsid sh {place}/$$.job > {place}/$$.log 2>&1 &\n'
               f"echo $! > {place}/$$.pid; echo Submitted batch job $$")  # fmt: skip
    executable(place / "scancel", f"echo $1 >> {place}/cancelled; kill $(cat {place}/$1.pid)")
    monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)
    file = tmp_path / "slurm.yaml"
    example = (config.project_root() / "params" / "cluster" / "slurm.yaml").read_text().replace("cores: 8", "cores: 1")
    example = example.replace("log_directory: outputs/.logs", f"log_directory: {tmp_path}")
    file.write_text(f"{example}\ninterface: lo\nlocal_directory: {tmp_path}\n")
    run, entries = swept(settings(folder, cluster=str(file), workers=2, grid={"seed": [1, 4, 5]}))
    sweep.finish(run)
    assert [entry["status"] for entry in entries] == ["completed"] * 3
    jobs = sorted(place.glob("*.job"))
    assert len(jobs) == 2
    job = jobs[0].read_text()
    assert "#SBATCH -p gpu" in job
    assert "#SBATCH --gres=gpu:1" in job
    assert "--protocol tls://" in job
    assert "wanlab.runs.silent.SilentWorker" in job
    assert not list(outputs.glob(".certificate*"))
    assert sorted((place / "cancelled").read_text().split()) == [file.stem for file in jobs]
    assert run.manifest["settings"]["cluster"] == "slurm.yaml"


@pytest.mark.slow
def test_a_cluster_that_runs_already(outputs: Path, folder: Path, tmp_path: Path, deaths: Path) -> None:
    """Its connections are encrypted: the certificate of the file is what lets a sweep in."""
    from distributed import Nanny, Scheduler, Security, SpecCluster

    certificate, key = make_certificate(tmp_path)
    tls = {f"tls_{who}_{what}": str(path) for who in ("scheduler", "worker", "client") for what, path in (("cert", certificate), ("key", key))}  # fmt: skip
    security = Security(require_encryption=True, tls_ca_file=str(certificate), **tls)
    how = {"host": "127.0.0.1", "dashboard": False, "protocol": "tls://", "security": security}
    nanny = {"cls": Nanny, "options": {"host": "127.0.0.1", "nthreads": 2, "security": security, "protocol": "tls://"}}
    with SpecCluster(
        scheduler={"cls": Scheduler, "options": how}, workers={0: nanny}, security=security, silence_logs=50
    ) as cluster:
        file = tmp_path / "cluster.yaml"
        file.write_text(
            f"address: {cluster.scheduler_address}\n"
            f"tls_ca_file: {certificate}\ntls_client_cert: {certificate}\ntls_client_key: {key}\n"
        )
        _, entries = swept(settings(folder, cluster=str(file), grid={"seed": [1, 4]}))
        assert [entry["status"] for entry in entries] == ["completed"] * 2
        assert len(cluster.scheduler_info["workers"]) == 1  # it was there before, and stays


def make_certificate(place: Path) -> tuple[Path, Path]:
    certificate, key = place / "cert.pem", place / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=wanlab test"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize(
    ("file", "more", "message"),
    [
        (None, {}, "cluster must be an address or a file that exists"),
        ("type: slum", {}, "type must be one of slurm"),
        ("queue: gpu", {}, "must hold what dask-jobqueue's SLURMCluster takes, got processes, queue"),
        ("cores: 1\nmemory: 1GB\nquee: gpu", {}, "quee"),
        ("cores: [", {}, "cluster.yaml, line 1: cores must be YAML"),
    ],
)
def test_a_cluster_that_is_none(outputs: Path, tmp_path: Path, file: str | None, more: dict, message: str) -> None:
    path = tmp_path / "cluster.yaml"
    if file is not None:
        path.write_text(file)
    with pytest.raises((config.SettingsError, FileNotFoundError), match=message), workers.pool(1, path):
        pass


def test_an_interrupt_is_still_one_after_a_cluster_file_was_read() -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom wanlab.runs import workers\n"
        "workers.read_file(Path('params/cluster/slurm.yaml'))\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept KeyboardInterrupt:\n    print('interrupted')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_a_misspelt_cluster_file_stops_before_a_run_is_made(outputs: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"cluster must be an address or a file that exists, got slrum\.yaml"):
        sweep.prepare(settings(folder, cluster="slrum.yaml", workers=2))
    assert not list(outputs.glob("*"))


def test_more_workers_than_gpus() -> None:
    message = "workers must be at most 2, the number of GPUs, got 3; use 2"
    with pytest.raises(config.SettingsError, match=message), workers.pool(3, None, gpus=2):
        pass


def test_each_worker_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with workers.pool(2, None, gpus=2) as client:
        seen = client.run(os.getenv, "CUDA_VISIBLE_DEVICES")
        addresses = list(seen)
    assert sorted(seen.values()) == ["3", "5"]
    assert all(address.startswith("tls://127.0.0.1:") for address in addresses)


def test_an_address_is_no_path() -> None:
    assert config.SweepSettings.build({"cluster": "tcp://head:8786"}).cluster == "tcp://head:8786"
    assert config.SweepSettings.build({"cluster": "a.yaml"}).cluster == Path("a.yaml")


INSIDE = """
import sys, os
from pathlib import Path
import distributed, psutil
from wanlab.runs import workers

with workers.pool(2, None) as client:
    client.wait_for_workers(2, timeout=60)
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = {c.laddr for p in processes for c in p.net_connections("tcp") if c.status == "LISTEN"}
    print(client.scheduler.address, *sorted(f"{ip}:{port}" for ip, port in listening), flush=True)
    sys.stdin.readline()
    print(client.submit(os.getpid, pure=False).result() in {p.pid for p in processes}, flush=True)
"""


def test_local_workers_listen_to_who_holds_their_certificate_and_serve_no_page(tmp_path: Path) -> None:
    """Whatever the user's own Dask settings say: they are meant for the user's clusters."""
    from distributed import Client

    (tmp_path / "dask.yaml").write_text("distributed:\n  comm:\n    timeouts:\n      tcp: 3s\n")
    env = {**os.environ, "DASK_CONFIG": str(tmp_path)}
    command = [sys.executable, "-c", INSIDE]
    with subprocess.Popen(command, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        address, *listening = process.stdout.readline().split()
        assert address.startswith("tls://127.0.0.1:")
        assert {place.rsplit(":", 1)[0] for place in listening} == {"127.0.0.1"}
        plain = address.replace("tls://", "tcp://")
        with pytest.raises(OSError, match="Timed out|Failed|closed"), Client(plain, timeout="2s"):
            pass
        for place in listening:
            with pytest.raises((urllib.error.URLError, ConnectionError)):
                urllib.request.urlopen(f"http://{place}/health", timeout=2)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "True\n"
    assert process.returncode == 0
