# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 20 Inspect
# Review and correct the poses and masks of the inputs that 10_preprocess wrote. Every correction is saved at once in
# `edits.json` beside the inputs; *Apply* writes new inputs, and the old ones stay unchanged. Opened on inputs that it wrote,
# this notebook shows their corrections, so that you can add to them or undo them.

# %% tags=["setup"]
from wanlab.widgets.run_watch import watch

watch("inspect")

# %% tags=["parameters"]
# what you change first
inputs = "latest"  # folder that 10_preprocess wrote, or latest: the newest one
driving_video = None  # the driving video, for inputs that other tools wrote; None: driving.mkv of the inputs
points = None  # clicked points and boxes (PointsEditor's JSON) to segment the person from; None: the mask of the inputs
edits = None  # decisions to apply: the edits.json that this notebook's editors write beside the inputs; None: none
pose_cleaning = None  # rules that mend the pose, e.g. gaps:6,jumps,swaps,hands:0.6; what they find is added to edits.json, where it can be undone; None: none
# replace mode: the mask and the background
mask_chain = None  # mask chain of the new inputs; None: the one in edits, with points that of the inputs, else no new inputs are written
compare = ["grow:10,blockify:32", "dilate:7x3,cells:1x1", "snap:16"]  # mask chains to show side by side
auto_keypoint = True  # also show the mask that the official code's eight keypoints give (SAM2, else GrabCut)
base = None  # mask that the others are compared with; None: the person's mask before any chain
sam_checkpoint = "auto"  # weights of SAM2: a file or folder; auto: full-size ones in the checkpoint or ComfyUI/; nano: bundled, for rendered people; none
compile_sam = "auto"  # compile SAM2's image encoder; auto: on a GPU, for 2000 frames or more
# where and how it runs
save_path = None  # folder to copy the new inputs to: new, empty, or holding inputs that wanlab wrote
fresh = False  # compute again even where a finished run with the same settings exists

# %% [markdown] tags=["setup"]
# ## Settings and run
# A chain, points or edits that do not fit stop here, before anything is computed.

# %% tags=["setup"]
from IPython.display import display

from wanlab import config, viz
from wanlab.steps import inspect
from wanlab.widgets.decision_list import decision_list
from wanlab.widgets.mask_comparison import mask_comparison
from wanlab.widgets.mask_editor import mask_editor
from wanlab.widgets.pose_review import pose_review

settings = config.from_notebook(config.InspectSettings)
run = inspect.prepare(settings)
display(run.settings, run)
inspection = inspect.work(run)

# %% [markdown]
# ## Poses and face crops
# The skeleton should sit on the person, the crop should hold the whole face. Begin with the worst frames: drag a joint,
# interpolate a gap, swap hands that changed sides, hide a hand that was detected where there is none. Every action is in `edits.json` at once.

# %%
pose_review(inspection)

# %% [markdown]
# ## Masks side by side
# Light blue is generated. The mask must cover the whole person with hair and clothes, and little else: the model invents
# whatever it covers beyond the person. Orange: only in this mask; dark blue: only in the base. Pink: black in the background although the model is told
# to keep it, and fringes there become dark halos; `snap` has none.

# %%
mask_comparison(inspection)

# %% [markdown]
# ## Correct the mask
# Click on what is missing, shift-click on what is too much; or paint. A click changes the region that it lies in; *Propagate*
# follows it through the other frames. Every action is in `edits.json` at once.

# %%
mask_editor(inspection)

# %% [markdown]
# ## Decisions, and Apply
# All that is decided about this clip, in whatever editor: a click on a line leads to its frame; untick it and it does not
# count; delete it; undo goes on in a new kernel. *Apply*, or this cell, writes new inputs with what counts, always from
# those of 10_preprocess. `30_generate` takes the inputs applied last, and names what is not applied.
# `wanlab inspect --inputs … --edits edits.json` does the same without a browser.

# %%
display(decision_list(inspection))
corrected = inspect.replay(inspection)
print(f"inputs: {config.typed(corrected.made.folder)}", *corrected.by_hand, sep="\n")
changes = (
    viz.video_changes(corrected.clip, *inspect.videos_before_and_after(corrected)),
    viz.mask_changes(corrected.clip, *inspect.before_and_after(corrected), inspect.decided(corrected)),
)
display(*filter(None, changes))

# %% [markdown]
# ## Numbers
# *change* is 1 - IoU with the frame before: of two masks of one clip, the one with the higher value flickers more.

# %%
display(viz.mask_table(corrected.numbers, corrected.base))
viz.mask_curves(corrected.numbers, corrected.base)
