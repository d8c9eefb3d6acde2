"""Images, plots, tables and players for notebooks and reports. Writes no file, prints nothing."""

from wanlab.viz.masks import (
    MASK_CELL,
    MASK_NUMBERS,
    MASK_VIEWS,
    REGIONS,
    Layer,
    View,
    background,
    difference,
    frame_sheet,
    leak,
    marked,
    mask_changes,
    mask_views,
    object_colour,
    overlay,
)
from wanlab.viz.player import show_videos
from wanlab.viz.plots import (
    PARTS,
    keypoint_confidence,
    mask_curves,
    metric_plots,
    pareto,
    pose_timeline,
    segment_plan,
    step_changes,
    time_against_metrics,
)
from wanlab.viz.sheets import contact_sheet, people_sheet, reference_sketch, result_beside, video_changes
from wanlab.viz.style import (
    CELL,
    COLUMNS,
    DPI,
    ERASED_COLOUR,
    JUMP_COLOUR,
    LABEL_GAP,
    LEAK_COLOUR,
    LESS_COLOUR,
    LINE_COLOURS,
    LINE_STYLES,
    MASK_COLOUR,
    MISSING_COLOUR,
    MORE_COLOUR,
    OBJECT_COLOURS,
    PAGE,
    PART_COLOURS,
    SEAM_COLOUR,
    SURE_COLOUR,
    UNSURE_COLOUR,
)
from wanlab.viz.tables import importance_table, mask_table, metric_table, not_applied, pose_faults, sortable, table
