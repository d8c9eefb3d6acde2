"""Settings of every step, and where files live."""

from wanlab.config.base import Settings, SettingsError, digest, parse_text, read_params, unknown_choice, unknown_name
from wanlab.config.notebook import assigned_names, from_notebook
from wanlab.config.paths import (
    ASSETS,
    CHECKPOINT_FOLDERS,
    PACKAGE,
    SHELL_FOLDER,
    absolute,
    existing_file,
    headless,
    lies_outside,
    outputs_root,
    placed,
    project_root,
    shown,
    typed,
)
from wanlab.config.steps import (
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
)
