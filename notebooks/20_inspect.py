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
# The inputs that 10_preprocess made go in; you see masks, poses and face crops. A mask that you choose (`mask_chain`) or
# cut out anew with clicked points (`points`) comes out as new inputs; the old ones stay as they are.

# %% tags=["parameters"]
inputs = "latest"  # folder that 10_preprocess wrote, or latest: the newest one
driving_video = None  # the film, for a folder of other tools; None: driving.mkv of the inputs
points = None  # clicked points and boxes (PointsEditor's JSON): the person is cut out anew; None: as the inputs have it
sam_checkpoint = "auto"  # SAM2's weights: a file or folder, auto (full-size ones of the checkpoint or ComfyUI/), nano (bundled, for rendered people), none
compile_sam = "auto"  # compile SAM2's image encoder; auto: on a GPU, for 2000 frames or more
mask_chain = None  # the chain that new inputs get; None: with points the one in use, else no new inputs are written
compare = ["grow:10,blockify:32", "dilate:7x3,cells:1x1", "snap:16"]  # mask chains to look at side by side
auto_keypoint = True  # look as well at the person that upstream's eight key points give (SAM2, else GrabCut)
base = None  # variant that the others are compared with; None: the person's outline before any chain
save_path = None  # folder that gets a copy of the new inputs
fresh = False  # work anew even where a finished run with the same settings exists
inputs = "/tmp/pytest-of-root/pytest-45/posed0/inputs"

# %% [markdown]
# ## Settings and work
# A chain or points that do not fit stop here, before anything is worked on.

# %%
from IPython.display import display

from wanlab import config, inspection, viz
from wanlab.widgets.mask_browser import mask_browser

settings = config.from_notebook(config.InspectSettings)
run = inspection.start(settings)
display(run.settings, run)
seen = inspection.work(run)

# %% [markdown]
# ## Pose beside face crops
# The skeleton should sit on the person, the crop should hold the whole face. Frames without a person or a usable face
# are always among those shown, and marked.

# %%
viz.contact_sheet(inspection.poses_and_faces(seen), marks=inspection.marks(seen))

# %% [markdown]
# ## Masks side by side
# Green is generated anew. It must hold the whole person with hair and clothes, and little else: what a box covers beyond
# the person is invented.

# %%
masks = {name: seen.masks(name) for name in seen.names}
viz.mask_views(seen.clip, masks, viz.overlay, seen.base)

# %% [markdown]
# ## What differs, and what leaks
# Orange: more than the base; blue: less. Then in pink what is black in the background although the model is told to keep
# it: fringes there become dark halos. `snap` has none.

# %%
display(viz.mask_views(seen.clip, masks, viz.difference, seen.base))
viz.mask_views(seen.clip, masks, viz.leak, seen.base)

# %% [markdown]
# ## Numbers
# *change* is 1 - IoU with the frame before: of two masks of one clip the higher one flickers more.

# %%
display(viz.mask_table(seen.numbers, seen.base))
viz.mask_curves(seen.numbers, seen.base)

# %% [markdown]
# ## Frame by frame
# In JupyterLab: slider, mask and view. To choose a mask set `mask_chain` to it and run again: the new inputs lie in the
# folder named above, and `30_generate` takes the newest by itself.

# %%
mask_browser(seen)
