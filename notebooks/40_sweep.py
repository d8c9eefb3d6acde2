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
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 40 Sweep
# Generates one video for each combination (point) of a grid of settings, and shows them side by side with their metrics. The
# model is loaded once. Stop it at any time and run it again: finished points are skipped, an unfinished one continues from its
# last segment. For a first look set `preview_steps`; then compute the most promising points completely: `preview_steps = None`,
# `finish = [3, 7]`.

# %% tags=["setup"]
from wanlab.widgets.run_watch import watch
from wanlab.widgets.settings_form import settings_form

watch("sweep")
settings_form("sweep")  # run this cell for a form of the settings below

# %% tags=["parameters"]
# what you change first
grid = {"shift": [3.0, 5.0]}  # settings of 30_generate, or mask_chain, each with its values; every combination is one point
cases = []  # further points, each a set of settings
preview_steps = None  # for a first look: stop after this many steps of each point's first segment; None: all
finish = []  # numbers of the points to compute completely, e.g. 3,7; empty: all
inputs = "latest"  # folder that 10_preprocess or 20_inspect wrote, or latest: the newest one
mode = None  # None: replace where the inputs hold src_bg.mp4 and src_mask.mp4, else animate
prompt = "视频中的人在做动作"  # text prompt; the official code always uses this one
num_inference_steps = None  # denoising steps per segment; usual 20 to 40; None: the checkpoint's
guidance_scale = None  # classifier-free guidance; usual 2 to 4.5, 1 is off; None: the checkpoint's
shift = None  # shift of the noise schedule; usual 3 to 5; None: the checkpoint's
seed = 42  # seed of the noise
max_frames = None  # generate at most this many frames; None: all of the inputs
segment_frame_length = None  # frames per segment, 4n + 1; auto: as few and as short as the clip needs, up to the checkpoint's, or auto:49; None: the checkpoint's
prev_segment_conditioning_frames = None  # last frames of a segment that condition the next: 1 or 5; None: the checkpoint's
continue_from = None  # run of 30_generate whose result this one goes on from, of the same size, or latest: the newest; None: a start of its own
# how it is sampled
solver = "unipc"  # sampling method: unipc, the official default; dpm++; euler or lcm, which distilled models need
sigma_schedule = "linear"  # noise levels of the steps: linear, as the official code; simple or normal, as ComfyUI's schedulers
precision = "fast"  # official: float32 where the official code keeps it, slower; fast: rounded after each block, as diffusers
quantization = "none"  # the blocks' weights in 8 bits with a scale a row: half the memory, less exact; fp8 multiplies in 8 bits too, on GPUs that can
attention = "auto"  # attention kernel; auto: FlashAttention 3 on Hopper where it is installed, else PyTorch's; flash3_fp8 and sage are less exact
vae_precision = "float32"  # of the VAE; bfloat16 takes little more than half the time and memory, 46 dB from float32 or better
noise_device = "cpu"  # where noise is drawn: cpu, the same on every machine; or cuda, as the official code
pose_strength = 1.0  # how strongly the skeleton acts; 1 as the model was trained, 0: not at all
face_strength = 1.0  # how strongly the face crops act; 1 as the model was trained, 0: not at all
colour_hold = False  # give later segments the mean colours and contrast of the first, against drift; in replace inside the mask
more_references = []  # further images of the same character, separated by commas, which CLIP sees beside the reference; unproven: the model was trained with one; empty: none
lora = []  # LoRAs, each a file or file:strength, several separated by commas, e.g. lightx2v.safetensors:0.8; empty: none
use_relighting_lora = False  # adapt the character's lighting to the video's (replace) with the checkpoint's relighting LoRA
# official scripts (backend wan22)
backend = "wanlab"  # what runs the step: wanlab, or wan22: the official scripts in your clone of Wan2.2
no_offload = False  # the same as offload none; wan22: keep the text encoder on the GPU
multi_gpu = False  # wan22: one video on several GPUs (FSDP and Ulysses)
nproc_per_node = None  # wan22: how many GPUs with multi_gpu; None: all of this machine
wan22_dir = "Wan2.2"  # wan22: your clone of Wan2.2
wan22_python = None  # wan22: Python of the clone's own environment, not wanlab's; None: .venv/bin/python in the clone
# where and how it runs
checkpoint = None  # folder of the Wan2.2-Animate weights, or a params file that names its parts; None: with a GPU the first complete one that wanlab models lists, else the bundled nano
device = None  # device the model runs on; None: a GPU if there is one
offload = "auto"  # auto: as much of the model stays in host memory as must; none: all on the GPU; blocks: all blocks travel
compile_model = "auto"  # compile the model's blocks, never on a CPU: half a minute once for each size, then quicker; auto: on a GPU
gpu_memory_gb = None  # most of the GPU's memory that is used, 10^9 bytes each; None: what is free
fresh = False  # compute again even where a finished run with the same settings exists
video_quality = 14  # of result.mp4: x264's crf, 0 to 40; less is better and larger; another one is written from what is there
workers = None  # points computed at a time, each in its own process on its own GPU; None: one after the other
cluster = None  # where the workers run: a Dask scheduler's address (tcp://…) or a YAML file for a batch system; None: this machine

# %% [markdown] tags=["setup"]
# ## Settings and points
# A wrong name or value in any point stops here. Check how many points there are and how long they will take.

# %% tags=["setup"]
from IPython.display import display

from wanlab import config
from wanlab.steps import report, sweep
from wanlab.widgets.sweep_winner import sweep_winner

settings = config.from_notebook(config.SweepSettings)
run = sweep.prepare(settings)
display(run.settings, run)

# %% [markdown] tags=["setup"]
# ## Run

# %% tags=["setup"]
entries = sweep.work(run)

# %% [markdown]
# ## Side by side, synchronised
# Look for what a setting changes: detail, colour, how well the pose is kept, jumps at seams. A click on a head of the table
# sorts; *seconds* are those of the generation itself, without the first point's warm-up. Star the winner (★), copy its
# command, and make a report of it.

# %%
display(report.side_by_side(entries, star=report.star_of(run)))
sweep_winner(run)

# %% [markdown]
# ## What mattered, and against time
# Axes show ten times what results differ by that have only another seed. A line joins points that differ in that setting alone;
# in the last plots, those that no other beats in both time and metric.

# %%
display(*report.plots(entries))

# %% [markdown] tags=["setup"]
# Every point is a separate run in `outputs`. Next: `50_report`.

# %% tags=["setup"]
sweep.finish(run)
