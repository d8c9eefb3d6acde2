"""The folder of inputs between preprocessing and generation: read, write, correct, shrink."""

from wanlab.inputs.folder import (
    DECIDING,
    DRIVING,
    EDITED,
    EXPORTS,
    FACTS,
    FILES,
    KEYPOINTS,
    READ_TOO,
    REFERENCE,
    REPLACE_ONLY,
    UPSTREAM_NAMES,
    AnimateInputs,
    check_video,
    find,
    locate,
    note_restored,
    of_run,
    origins,
    read,
    record,
)
from wanlab.inputs.write import restore_exports, save_masks, write_facts, write_masks, write_pair, write_video
