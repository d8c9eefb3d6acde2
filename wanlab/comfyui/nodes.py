"""What wanlab knows of ComfyUI's nodes: which widget is which setting, and what has no counterpart, with the remedy.

Nodes of ComfyUI itself and of Kijai's WanVideoWrapper, KJNodes, segment-anything-2 and WanAnimatePreprocess, and of
VideoHelperSuite. `comfyui` reads these tables; the order of the widgets is in `graph`.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class Inputs(NamedTuple):
    """Names of the inputs of a node that hands Wan-Animate its inputs, and of the widgets for its length.

    Attributes:
        clip: what brings CLIP's look at the reference.
        pose, face, reference, background, mask: what bring the videos and the image of the same name.
        window: the widget of a segment's length.
        frames: the widget of the clip's length, None where the node has none.
    """

    clip: str
    pose: str
    face: str
    reference: str
    background: str
    mask: str
    window: str
    frames: str | None = None


_KIJAI = Inputs(
    "clip_embeds", "pose_images", "face_images", "ref_images", "bg_images", "mask", "frame_window_size", "num_frames"
)
_NATIVE = Inputs(
    "clip_vision_output", "pose_video", "face_video", "reference_image", "background_video", "character_mask", "length"
)
EMBEDS = {
    "WanAnimateToVideo": _NATIVE,
    "WanVideoAnimateEmbeds": _KIJAI,
    "AdaptiveWanVideoAnimateEmbeds": _KIJAI,
}
_PLAIN = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg",
    "shift": "shift",
    "seed": "seed",
    "solver": "scheduler",
}
_CORE = {"num_inference_steps": "steps", "guidance_scale": "cfg", "seed": "seed", "solver": "sampler_name"}
SAMPLERS: dict[str, dict[str, str]] = {  # setting: widget, with the links that lead there in front
    "WanVideoSampler": _PLAIN,
    "WanVideoSamplerFromSettings": {name: f"sampler_inputs/{widget}" for name, widget in _PLAIN.items()},
    "WanVideoSamplerv2": {
        **_PLAIN, "num_inference_steps": "scheduler/steps", "shift": "scheduler/shift", "solver": "scheduler/scheduler",
    },
    "KSampler": _CORE,
    "KSamplerAdvanced": {**_CORE, "seed": "noise_seed"},
    "SamplerCustom": {
        "num_inference_steps": "sigmas/steps", "guidance_scale": "cfg", "seed": "noise_seed", "solver": "sampler/sampler_name",
    },
    "SamplerCustomAdvanced": {
        "num_inference_steps": "sigmas/steps", "guidance_scale": "guider/cfg", "seed": "noise/noise_seed", "solver": "sampler/sampler_name",
    },
}  # fmt: skip
SOLVERS = {"uni_pc": "unipc", "uni_pc_bh2": "unipc", "dpmpp_2m": "dpm++"}  # ComfyUI's name: wanlab's, where they differ
SCHEDULES = ("simple", "normal")  # of ComfyUI's schedulers those that wanlab has, under the same name
STRENGTHS = ("pose_strength", "face_strength")  # widgets of Kijai's embeds that are settings too
CORE_SHIFT = 8.0  # ComfyUI's own for Wan, where no ModelSamplingSD3 is between the model and the sampler
KIJAI_OVERLAP = 1  # frames that WanVideoAnimateEmbeds' windows always take over
VIDEOS = {
    "LoadVideo": "file", "VHS_LoadVideo": "video", "VHS_LoadVideoPath": "video", "VHS_LoadVideoFFmpeg": "video", "VHS_LoadVideoFFmpegPath": "video",
}  # fmt: skip
IMAGES = {"LoadImage": "image", "VHS_LoadImagePath": "image"}
SAME_IMAGE = {  # node: the input whose frames it hands on, in another size at most
    "GetImageSizeAndCount": "image", "GetVideoComponents": "video", "ImageFromBatch": "image", "GetImageRangeFromBatch": "images",
    "ImageScale": "image", "ImageResizeKJv2": "image", "ImageResizeKJ": "image",
}  # fmt: skip
PICKERS = ("ImageFromBatch", "GetImageRangeFromBatch")
RESIZERS = ("ImageScale", "ImageResizeKJv2", "ImageResizeKJ")
MASK_STEPS = {"GrowMask": "mask", "GrowMaskWithBlur": "mask", "BlockifyMask": "masks"}
TEXTS = {  # node: widgets of the positive and the negative prompt
    "CLIPTextEncode": ("text", "text"),
    "WanVideoTextEncode": ("positive_prompt", "negative_prompt"),
    "WanVideoTextEncodeCached": ("positive_prompt", "negative_prompt"),
    "WanVideoTextEncodeSingle": ("prompt", "prompt"),
}
MODELS = {
    "WanVideoModelLoader": "model", "UNETLoader": "unet_name", "UnetLoaderGGUF": "unet_name", "DiffusionModelLoaderKJ": "model_name",
}  # fmt: skip
SAVING = (
    "SaveVideo",
    "SaveImage",
    "SaveWEBM",
    "SaveAnimatedWEBP",
)  # and VHS_VideoCombine, which has its own switch for it
FEW_STEPS = 10  # below, only a distillation LoRA gives an image
FEW = (
    "so few steps are enough with a distillation LoRA alone; without it use num_inference_steps 20 or more, and guidance_scale 2 to 4.5 "
    "where the result stays dull"
)
UNKNOWN = (
    "wanlab does not know this node; if it changes the result, do its work elsewhere and give the file (pose_video, face_video, "
    "background_video, mask_video)"
)
_OWN_POSE = "wanlab finds the keypoints with its own networks and draws as the official preprocessing does; to use these drawings give them as pose_video"
WEIGHTS = (
    "the checkpoint is chosen apart: wanlab models link names ComfyUI's files in a params file, which checkpoint takes "
    "(wanlab models link --transformer FILE > my_models.yaml)"
)
_SPEED = "an approximation that wanlab does not have; leave it out"
NEUTRAL: dict[str, dict[str, tuple[tuple[Any, ...], str]]] = {  # node: widget: values without effect, else the reason
    "WanVideoAnimateEmbeds": {
        "colormatch": (("disabled",), "colour_hold true matches later segments to the first, in another way; set it yourself"),
    },
    "WanVideoSampler": {
        "riflex_freq_index": ((0,), "RIFLEx is not in wanlab; leave it out"),
        "denoise_strength": ((1,), "wanlab always starts from noise"),
        "start_step": ((0,), "wanlab always takes all steps"),
        "end_step": ((-1,), "wanlab always takes all steps"),
    },
    "KSampler": {"denoise": ((1,), "wanlab always starts from noise")},
    "BasicScheduler": {"denoise": ((1,), "wanlab always starts from noise")},
    "KSamplerAdvanced": {"start_at_step": ((0,), "wanlab always takes all steps")},
    "WanVideoScheduler": {
        "start_step": ((0,), "wanlab always takes all steps"),
        "end_step": ((-1,), "wanlab always takes all steps"),
    },
    "GrowMaskWithBlur": {
        "incremental_expandrate": ((0,), "wanlab grows all frames alike"),
        "flip_input": ((False,), "wanlab's chains do not invert; give an inverted mask as mask_video"),
        "blur_radius": ((0,), "wanlab's masks are hard, as the model takes them"),
        "lerp_alpha": ((1,), "wanlab does not blend masks over time; median:5 in mask_chain is the nearest"),
        "decay_factor": ((1,), "wanlab does not blend masks over time; median:5 in mask_chain is the nearest"),
    },
    "DrawMaskOnImage": {"color": (("0, 0, 0", "0,0,0", "#000000"), "wanlab's background is black inside the mask; give your own as background_video")},
    "PoseAndFaceDetection": {"face_padding": ((0, None), "wanlab crops the face as the official preprocessing does; give your own as face_video")},
    "DrawViTPose": {
        "body_stick_width": ((-1,), "wanlab draws the official widths; give your own drawings as pose_video"),
        "hand_stick_width": ((-1,), "wanlab draws the official widths; give your own drawings as pose_video"),
        "draw_head": ((True, "True", "true"), "wanlab draws the head; give your own drawings as pose_video"),
    },
    "WanVideoClipVisionEncode": {
        "strength_1": ((1,), "wanlab takes the reference's CLIP features at strength 1"),
        "strength_2": ((1,), "wanlab takes the reference's CLIP features at strength 1"),
    },
    "WanVideoModelLoader": {"attention_mode": (("sdpa", "comfy"), "wanlab takes PyTorch's attention; results differ in details")},
    "Sam2Segmentation": {},
    "VHS_LoadVideo": {},
}  # fmt: skip
NEUTRAL |= {
    "AdaptiveWanVideoAnimateEmbeds": {
        **NEUTRAL["WanVideoAnimateEmbeds"],
        "adaptive_window_mode": (("fixed",), "wanlab's segments are all of one length"),
    },
    "WanVideoSamplerSettings": NEUTRAL["WanVideoSampler"],
    "WanVideoSchedulerv2": NEUTRAL["WanVideoScheduler"],
}
NO_COUNTERPART = {  # node: why, and what to do
    "DWPreprocessor": _OWN_POSE,
    "OpenposePreprocessor": _OWN_POSE,
    "AIO_Preprocessor": _OWN_POSE,
    "WanVideoUniAnimateDWPoseDetector": _OWN_POSE,
    "OnnxDetectionModelLoader": "wanlab takes the detectors of ComfyUI's models/detection where they are (setting detectors); pose_channel_order rgb gives ViTPose what the nodes give it",
    "FaceMaskFromPoseKeypoints": "wanlab crops the face as the official preprocessing does; give your own as face_video",
    "ImageCropByMaskAndResize": "wanlab crops the face as the official preprocessing does; give your own as face_video",
    "WanVideoContextOptions": "wanlab works in segments that overlap, not in context windows; see segment_frame_length",
    "WanVideoTeaCache": _SPEED,
    "WanVideoMagCache": _SPEED,
    "WanVideoEasyCache": _SPEED,
    "EasyCache": _SPEED,
    "WanVideoSLG": "skip-layer guidance is not in wanlab; leave it out",
    "WanVideoEnhanceAVideo": "Enhance-A-Video is not in wanlab; leave it out",
    "WanVideoExperimentalArgs": "wanlab has no such experiments; leave it out",
    "CreateCFGScheduleFloatList": "wanlab takes one guidance_scale for all steps",
    "ColorMatch": "wanlab does not match colours; do it afterwards",
    "RIFE VFI": "wanlab does not make frames in between; do it afterwards, or set fps",
    "ImageUpscaleWithModel": "wanlab does not enlarge results; do it afterwards, or set resolution",
}
WITHOUT_EFFECT = {  # on the result, or what wanlab does by itself in the same way
    "BasicGuider", "CFGGuider", "CLIPLoader", "CLIPVisionEncode", "CLIPVisionLoader", "ConditioningZeroOut", "CreateVideo", "GetImageSizeAndCount",
    "GetVideoComponents", "ImageBatch", "ImageConcatMulti", "ImageFromBatch", "ImageToMask", "KSamplerSelect", "LoadWanVideoT5TextEncoder", "MaskPreview",
    "MaskToImage", "PixelPerfectResolution", "PointsEditor", "PreviewImage", "RandomNoise", "Sam2VideoSegmentation", "Sam2VideoSegmentationAddPoints",
    "SaveAnimatedWEBP", "SaveImage", "SaveVideo", "SaveWEBM", "TorchCompileModelWanVideo", "TorchCompileModelWanVideoV2", "TrimVideoLatent", "VAEDecode",
    "VAEDecodeTiled", "VAELoader", "VHS_VideoCombine", "VHS_VideoInfo", "VHS_VideoInfoLoaded", "WanVideoBlockSwap", "WanVideoDecode", "WanVideoSetBlockSwap",
    "WanVideoSetLoRAs", "WanVideoTextEmbedBridge", "WanVideoTinyVAELoader", "WanVideoTorchCompileSettings", "WanVideoVAELoader", "WanVideoVRAMManagement",
    "DownloadAndLoadSAM2Model", "ModelSamplingSD3", *MASK_STEPS, *TEXTS, *MODELS, *SAMPLERS, *EMBEDS, *VIDEOS, *IMAGES, *SAME_IMAGE, *NEUTRAL,
}  # fmt: skip
