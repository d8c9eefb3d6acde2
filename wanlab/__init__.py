"""wanlab: a Jupyter research workbench for Wan2.2-Animate-14B.

Where things live, in reading order: `steps` (preprocess, inspect, generate, sweep, report: read this first) wire together
`media` (videos, images, sound), `pose` (keypoints), `mask`, `inputs` (the folder between preprocessing and generation),
`model` (checkpoints, segments, sampling) and `results` (metrics). `runs` are folders that can be trusted after any kind of
end, `files` write, lock and remove, `config` holds every setting. `viz` and `widgets` show, `official` and `comfyui` connect
to others' tools, `cli` is the command.
"""

__version__ = "0.1.0"
