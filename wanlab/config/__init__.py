"""Settings of every step, and where files live."""

from wanlab.config.base import (
    Settings,
    SettingsError,
    brief,
    digest,
    parse_text,
    printable,
    unknown_choice,
    unknown_name,
)
from wanlab.config.notebook import assigned_names, from_notebook, mended_paths
from wanlab.config.params import read_mapping, read_params
from wanlab.config.pasted import mended, peeled, split_strength
from wanlab.config.paths import (
    ASSETS,
    CHECKPOINT_FOLDERS,
    CHECKPOINT_REPOSITORIES,
    COMFYUI,
    PACKAGE,
    SHELL_FOLDER,
    absolute,
    cached_folders,
    comfyui_folder,
    existing_file,
    expanded,
    headless,
    lies_outside,
    nearest,
    outputs_root,
    placed,
    project_root,
    shown,
    typed,
    weight_folders,
)
from wanlab.config.steps import (
    AUTO,
    LORA,
    NEGATIVE_PROMPT,
    NO_UPSTREAM_ARGUMENT,
    NOTEBOOKS,
    PROMPT,
    GenerateSettings,
    InspectSettings,
    PreprocessSettings,
    ReportSettings,
    ResolvedGenerateSettings,
    SweepSettings,
    longest_segment,
)
