"""Run folders and who works in them. Knows nothing of video."""

from wanlab.runs.lock import LOCK, owner
from wanlab.runs.progress import CANCEL, PAUSE, PROGRESS, Progress
from wanlab.runs.provenance import environment, scrub, source_hash
from wanlab.runs.run import (
    DIED,
    HASHED,
    INTERRUPTED,
    LOG,
    MANIFEST,
    MIMETYPE,
    NEW,
    PATIENCE,
    PLACES,
    PREVIEW,
    RESERVE,
    Run,
    ask_to_stop,
    ask_to_stop_all_of,
    find_run,
    identity,
    list_damaged,
    list_runs,
    newest,
    open_run,
    read_manifest,
    working_here,
)
