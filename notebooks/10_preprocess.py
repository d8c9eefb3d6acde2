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

# %% tags=["setup"]
from wanlab.widgets.run_watch import watch
from wanlab.widgets.settings_form import settings_form

watch("preprocess")
settings_form("preprocess")  # run this cell for a form of the settings below

# %% tags=["parameters"]
# what you change first
driving_video = "wanlab/assets/sample/half.mp4"  # video of the person whose motion is transferred
reference_image = "wanlab/assets/sample/character.png"  # image of the character to animate
mode = "animate"  # animate: the character moves as the person does; replace: takes the person's place in the video
resolution = None  # "width height", e.g. "1280 720": an area; the shape is the reference image's, in replace the video's; None: the checkpoint's
start_s = 0.0  # seconds to skip at the start of the video
max_frames = None  # process at most this many frames; None: all
fps = None  # frames per second to resample to; None: the video's own
deinterlace = False  # make whole frames of interlaced video, whose frames are woven of two moments
person = None  # whom to follow: a number from 10_preprocess's contact sheet, or clicks on them: x,y@frame, separated by spaces, in pixels of the working clip; None: number 1, with detectors of a checkpoint the largest in each frame, as upstream
pose_video = None  # your own pose drawings; None: drawn from the keypoints
face_video = None  # your own face crops, 512x512; None: cropped from the driving video
face_crop = "official"  # how faces are cropped: official (each frame for itself, as upstream), steady (one size, moved between pixels)
detectors = "auto"  # what finds body, hands and face: bundled, or a folder with YOLOv10m and ViTPose-H (a checkpoint's, ComfyUI's); auto: those where they are, else bundled
pose_channel_order = "bgr"  # order of the colours that ViTPose gets: bgr as the official code, rgb as ComfyUI's nodes
detector_filter = None  # what detectors see of the driving video: None: its frames as they are, as upstream; blur: without noise; brighten: lighter, for dark clips
retarget = None  # animate: give the skeleton the reference's proportions: wanlab, official (upstream's arithmetic), False: the driver's; None: on in animate (wanlab's, with wan22 upstream's)
use_flux = False  # edit reference and first frame with FLUX.1-Kontext (gated weights, 34 GB) before retargeting
# replace mode: the mask and the background
mask_source = "auto"  # replace: where the person's mask comes from: auto (the best available; its name is printed), segmenter, keypoints, official, centre, a points file, a mask video
mask_chain = None  # replace: how the mask is enlarged, e.g. dilate:7x3,cells:1x1; None: grow:10,blockify:32 (wan22: dilate:7x3,cells:1x1)
mask_video = None  # replace: your own finished mask, white is generated; None: made with mask_source and mask_chain
background_video = None  # replace: your own background; None: the driving video, black inside the mask
sam_checkpoint = "auto"  # weights of SAM2: a file or folder; auto: full-size ones in the checkpoint or ComfyUI/; nano: bundled, for rendered people; none
compile_sam = "auto"  # compile SAM2's image encoder; auto: on a GPU, for 2000 frames or more
# official scripts (backend wan22)
backend = "wanlab"  # what runs the step: wanlab, or wan22: the official scripts in your clone of Wan2.2
wan22_dir = "Wan2.2"  # wan22: your clone of Wan2.2
wan22_python = None  # wan22: Python of the clone's own environment, not wanlab's; None: .venv/bin/python in the clone
# where and how it runs
checkpoint = None  # folder of the Wan2.2-Animate weights, or a params file that names its parts; None: with a GPU the first complete one that wanlab models lists, else the bundled nano
preview = False  # a smaller run first: the first second only, at the full size
save_path = None  # folder to copy the finished inputs to: new, empty, or holding inputs that wanlab wrote
fresh = False  # compute again even where a finished run with the same settings exists

# %% [markdown] tags=["setup"]
# ## Settings
# A misspelt name or a wrong value stops here, before anything is computed. Check the size of the result.
# Runs with the same settings and inputs share one folder: it is reused or continued. With `preview = True` only the first
# second is processed; a full run of `30_generate` never takes such inputs as the newest ones, its own preview does.

# %% tags=["setup"]
from IPython.display import display

from wanlab import config, viz
from wanlab.steps import preprocess

settings = config.from_notebook(config.PreprocessSettings)
run = preprocess.prepare(settings)
display(run.settings, run)

# %% [markdown] tags=["setup"]
# ## Run
# Keypoints are detected, drawn at the result's size, and the face is cropped. What finds them and what it runs on is named
# above and below: the checkpoint's own detectors where they are, on a GPU if onnxruntime can use it. With backend wan22 the
# official script does it: its log appears below and is kept as `wan22.log`.

# %% tags=["setup"]
animate_inputs = preprocess.work(run)

# %% [markdown]
# ## Does the skeleton follow the person?
# The skeleton should move as the person in every column, in replace and without retargeting on the person itself; the crop
# should hold the whole face. In frames without a skeleton no person was detected. In replace mode nothing of the person may be left in the
# background, and the mask should be no larger than that needs.
# Of several people each has a number, on the first sheet: `person = 2` follows another one, with pose, face and mask.

# %%
clip = animate_inputs.driving() or animate_inputs.video("pose_video")
display(*filter(None, (viz.people_sheet(clip, animate_inputs.people_boxes()), viz.contact_sheet(animate_inputs.clips()))))

# %% [markdown]
# ## Where are the keypoints unreliable?
# Points scoring under 0.5 are not drawn. Dips in a hand's curve are frames in which the hand will be missing.

# %%
points = animate_inputs.keypoints()
viz.keypoint_confidence(points, clip.fps, no_person=animate_inputs.facts.get("no_person", ()), cuts=animate_inputs.facts.get("cuts", ()))

# %% [markdown]
# ## The reference
# Its own skeleton beside it, then the driving person's first skeleton before and after retargeting: after it, limbs should
# have the character's lengths and hands hang on wrists. Without retargeting, framing and build should be close to the driving
# person's. Where FLUX edited images, they are shown too: the character must still be itself, facing forward.

# %%
viz.reference_sketch(animate_inputs.reference_image(), animate_inputs.reference_keypoints(), animate_inputs.edited(), animate_inputs.stands())

# %% [markdown]
# ## In motion
# The inputs are in the folder named above. Next: `30_generate`, which takes the newest inputs by default.

# %%
viz.show_videos({"driving": animate_inputs.driving(), "pose": animate_inputs.video("pose_video"), "face": animate_inputs.video("face_video")}, fps=clip.fps)
