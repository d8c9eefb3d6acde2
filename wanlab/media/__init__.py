"""Videos, images and sound: read as a player shows them, written completely or not at all."""

from wanlab.media.decode import ATTACHED_PICTURE
from wanlab.media.describe import describe_frames, describe_rate
from wanlab.media.image import Image, open_image, read_image, write_image
from wanlab.media.probe import VideoInfo, probe_video
from wanlab.media.sound import AudioStretch, describe_sound
from wanlab.media.video import (
    Clip,
    Frames,
    Seeker,
    Video,
    open_clip,
    read_comment,
    read_tags,
    read_video,
)
from wanlab.media.write import CRF, join, remux, rewrap, write_pair, write_video
