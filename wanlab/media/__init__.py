"""Videos, images and sound: read as a screen shows them, written whole or not at all."""

from wanlab.media.describe import describe_frames, describe_rate
from wanlab.media.image import Image, open_image, read_image, write_image
from wanlab.media.sound import AudioStretch
from wanlab.media.video import (
    ATTACHED_PICTURE,
    Clip,
    Frames,
    Seeker,
    Video,
    VideoInfo,
    open_clip,
    probe_video,
    read_comment,
    read_tags,
    read_video,
)
from wanlab.media.write import remux, rewrap, write_video
