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
# # 10 Preprocess
# A driving video and a reference image go in; the folder of inputs that generation reads comes out:
# pose drawings, face crops and the reference at the size of the result.

# %% tags=["parameters"]
driving_video = "wanlab/assets/sample/half.mp4"  # film whose person's motion is taken over
reference_image = "wanlab/assets/sample/character.png"  # picture of the character that shall move
mode = "animate"  # animate: the character moves as the person does; replace: takes their place in the film
backend = "wanlab"  # who does the work: wanlab, or wan22: the official scripts of your clone of Wan2.2
start_s = 0.0  # seconds of the film to skip
max_frames = None  # frames of the working clip at most; None: all
preview = False  # a quick look: the first second only, at the full size
fps = None  # frames per second of the working clip; None: the film's own
resolution = None  # "width height", e.g. "1280 720": an area; shape of the reference, in replace of the film; None: the checkpoint's
retarget = None  # fit the skeleton to the reference's proportions; None: as the backend does (wanlab: off, wan22: on in animate)
use_flux = False  # wan22: edit reference and first frame with FLUX before retargeting
mask_source = "auto"  # replace: what finds the person: auto (the best that is present, named), segmenter, keypoints, official, centre, a points file, a mask video
mask_chain = None  # replace: what is done to the mask, e.g. dilate:7x3,cells:1x1; None: grow:10,blockify:32 (wan22: dilate:7x3,cells:1x1)
sam_checkpoint = "auto"  # SAM2's weights: a file or folder, auto (full-size ones of the checkpoint or ComfyUI/), nano (bundled, for rendered people), none
compile_sam = "auto"  # compile SAM2's image encoder; auto: on a GPU, for 2000 frames or more
mask_video = None  # replace: your own finished mask, white is generated anew; None: from mask_source and mask_chain
background_video = None  # replace: your own background; None: the film, black inside the mask
pose_video = None  # your own pose drawings; None: drawn from the key points
face_video = None  # your own face crops, 512x512; None: cropped from the film
checkpoint = None  # folder of the model; None: Wan2.2-Animate-14B/ with a GPU, else the bundled nano
wan22_dir = "Wan2.2"  # wan22: your clone of Wan2.2
wan22_python = None  # wan22: the clone's own Python, never wanlab's; None: .venv/bin/python in the clone
save_path = None  # folder that gets a copy of the finished inputs: new, empty, or inputs of wanlab's
fresh = False  # work anew even where a finished run with the same settings exists

# %% [markdown]
# ## Settings and run
# A misspelt name or a wrong value stops here, before anything is worked on. Look at the size that comes out.
# Runs with the same settings and inputs share one folder: it is reused or continued. With `preview = True` only the first
# second is worked on; a full run of `30_generate` never takes that for the newest inputs, its own preview does.

# %%
from IPython.display import display

from wanlab import config, viz
from wanlab.steps import preprocess

settings = config.from_notebook(config.PreprocessSettings)
run = preprocess.prepare(settings)
display(run.settings, run)

# %% [markdown]
# ## Work
# Key points are detected frame by frame, drawn at the result's size, and the face is cropped. With backend wan22 the
# official script does it: its log runs below and is kept as `wan22.log`.

# %%
made = preprocess.work(run)

# %% [markdown]
# ## Is the person followed?
# The skeleton should sit on the person in every column, the crop should hold the whole face.
# A frame without a skeleton is one where no person was found. In replace mode nothing of the person may be left in the
# background, and the mask should be no larger than that needs.

# %%
clip = made.driving() or made.video("pose_video")
viz.contact_sheet(made.clips())

# %% [markdown]
# ## Where is it unsure?
# Points scoring under 0.5 are not drawn. Dips in a hand's curve are frames in which the hand will be missing.

# %%
points = made.keypoints()
viz.keypoint_confidence(points, clip.fps, no_person=made.facts.get("no_person", ()), cuts=made.facts.get("cuts", ()))

# %% [markdown]
# ## The reference
# Its own skeleton beside it: framing and build should be near the driving person's where retargeting is off. Where FLUX
# edited pictures for retargeting (backend wan22), they are shown too: the character must still be itself, facing forward.

# %%
viz.reference_sketch(made.reference_image(), made.reference_keypoints(), made.edited())

# %% [markdown]
# ## In motion

# %%
viz.show_videos({"driving": made.driving(), "pose": made.video("pose_video"), "face": made.video("face_video")}, fps=clip.fps)

# %% [markdown]
# The inputs are in the folder named above. Next: `30_generate`, which takes the newest inputs by itself.
