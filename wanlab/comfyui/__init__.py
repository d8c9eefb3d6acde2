"""ComfyUI workflows read as params files."""

from wanlab.comfyui.workflow import default_out, points_file, read, write
