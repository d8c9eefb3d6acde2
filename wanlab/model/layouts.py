"""Names of the networks' tensors: from the official files and ComfyUI's to those of diffusers and transformers.

Rules are regular renames; what bears the wanted name already passes through. `[a,b]` in a new name cuts the tensor along
its first axis, a part for each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Rules = Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]
UP_BLOCK = 4  # of the official VAE's decoder: three residual blocks and what enlarges


def _up_block(found: re.Match[str]) -> str:
    level, place = divmod(int(found[1]), UP_BLOCK)
    return f"decoder.up_blocks.{level}." + ("upsamplers.0" if place == UP_BLOCK - 1 else f"resnets.{place}")


RULES: Mapping[str, Rules] = {
    "transformer": (
        (r"^(model\.)?diffusion_model\.", ""),
        (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
        (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
        (r"^text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
        (r"^text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
        (r"^time_projection\.1\.", "condition_embedder.time_proj."),
        (r"^img_emb\.proj\.0\.", "condition_embedder.image_embedder.norm1."),
        (r"^img_emb\.proj\.1\.", "condition_embedder.image_embedder.ff.net.0.proj."),
        (r"^img_emb\.proj\.3\.", "condition_embedder.image_embedder.ff.net.2."),
        (r"^img_emb\.proj\.4\.", "condition_embedder.image_embedder.norm2."),
        (r"^(blocks\.\d+\.)self_attn\.", r"\1attn1."),
        (r"^(blocks\.\d+\.)cross_attn\.", r"\1attn2."),
        (r"(\.attn[12]\.)([qkv])\.", r"\1to_\2."),
        (r"(\.attn[12]\.)o\.", r"\1to_out.0."),
        (r"(\.attn2\.)([kv])_img\.", r"\1add_\2_proj."),
        (r"(\.attn2\.)norm_k_img\.", r"\1norm_added_k."),
        (r"^(blocks\.\d+\.)norm3\.", r"\1norm2."),  # the only one of a block's norms that has weights
        (r"^(blocks\.\d+\.ffn\.)0\.", r"\1net.0.proj."),
        (r"^(blocks\.\d+\.ffn\.)2\.", r"\1net.2."),
        (r"^(blocks\.\d+\.|head\.)modulation$", lambda found: found[1].removeprefix("head.") + "scale_shift_table"),
        (r"^head\.head\.", "proj_out."),
        (r"^face_adapter\.fuser_blocks\.(\d+)\.", r"face_adapter.\1."),
        (r"^(face_adapter\.\d+\.)linear1_kv\.", r"\1[to_k,to_v]."),
        (r"^(face_adapter\.\d+\.)linear1_q\.", r"\1to_q."),
        (r"^(face_adapter\.\d+\.)linear2\.", r"\1to_out."),
        (r"^(face_adapter\.\d+\.)([qk])_norm\.", r"\1norm_\2."),
        (r"^(face_encoder\.conv\w+\.)conv\.", r"\1"),
        (r"^motion_encoder\.dec\.direction\.weight$", "motion_encoder.motion_synthesis_weight"),
        (r"^motion_encoder\.enc\.fc\.", "motion_encoder.motion_network."),
        (r"^motion_encoder\.enc\.net_app\.convs\.0\.0\.", "motion_encoder.conv_in."),
        (r"^motion_encoder\.enc\.net_app\.convs\.0\.1\.", "motion_encoder.conv_in.act_fn."),
        (r"^motion_encoder\.enc\.net_app\.convs\.\d+\.weight$", "motion_encoder.conv_out.weight"),
        (r"^motion_encoder\.enc\.net_app\.convs\.(\d+)\.", lambda f: f"motion_encoder.res_blocks.{int(f[1]) - 1}."),
        (r"(\.res_blocks\.\d+\.conv1\.)0\.", r"\1"),
        (r"(\.res_blocks\.\d+\.conv1\.)1\.", r"\1act_fn."),
        (r"(\.res_blocks\.\d+\.conv2\.)1\.", r"\1"),
        (r"(\.res_blocks\.\d+\.conv2\.)2\.", r"\1act_fn."),
        (r"(\.res_blocks\.\d+\.)skip\.1\.", r"\1conv_skip."),
    ),
    "vae": (
        (r"^conv1\.", "quant_conv."),
        (r"^conv2\.", "post_quant_conv."),
        (r"^(\w+coder)\.conv1\.", r"\1.conv_in."),
        (r"^(\w+coder)\.head\.0\.", r"\1.norm_out."),
        (r"^(\w+coder)\.head\.2\.", r"\1.conv_out."),
        (r"^(\w+coder)\.middle\.0\.", r"\1.mid_block.resnets.0."),
        (r"^(\w+coder)\.middle\.1\.", r"\1.mid_block.attentions.0."),
        (r"^(\w+coder)\.middle\.2\.", r"\1.mid_block.resnets.1."),
        (r"^encoder\.downsamples\.", "encoder.down_blocks."),
        (r"^decoder\.upsamples\.(\d+)", _up_block),
        (r"\.residual\.0\.", ".norm1."),
        (r"\.residual\.2\.", ".conv1."),
        (r"\.residual\.3\.", ".norm2."),
        (r"\.residual\.6\.", ".conv2."),
        (r"\.shortcut\.", ".conv_shortcut."),
    ),
    "text_encoder": (
        (r"^token_embedding\.", "shared."),
        (r"^norm\.", "encoder.final_layer_norm."),
        (r"^blocks\.(\d+)\.", r"encoder.block.\1."),
        (r"^(encoder\.block\.\d+\.)norm1\.", r"\1layer.0.layer_norm."),
        (r"^(encoder\.block\.\d+\.)norm2\.", r"\1layer.1.layer_norm."),
        (r"^(encoder\.block\.\d+\.)attn\.", r"\1layer.0.SelfAttention."),
        (
            r"^(encoder\.block\.\d+\.)pos_embedding\.embedding\.",
            r"\1layer.0.SelfAttention.relative_attention_bias.",
        ),
        (r"^(encoder\.block\.\d+\.)ffn\.gate\.0\.", r"\1layer.1.DenseReluDense.wi_0."),
        (r"^(encoder\.block\.\d+\.)ffn\.fc1\.", r"\1layer.1.DenseReluDense.wi_1."),
        (r"^(encoder\.block\.\d+\.)ffn\.fc2\.", r"\1layer.1.DenseReluDense.wo."),
    ),
    "image_encoder": (
        (r"^vision_model\.", ""),
        (r"^visual\.cls_embedding$", "embeddings.class_embedding"),
        (r"^visual\.patch_embedding\.", "embeddings.patch_embedding."),
        (r"^visual\.pos_embedding$", "embeddings.position_embedding.weight"),
        (r"^visual\.pre_norm\.", "pre_layrnorm."),  # so spelled in transformers
        (r"^visual\.post_norm\.", "post_layernorm."),
        (r"^visual\.transformer\.", "encoder.layers."),
        (r"^(encoder\.layers\.\d+\.)norm([12])\.", r"\1layer_norm\2."),
        (r"^(encoder\.layers\.\d+\.)attn\.to_qkv\.", r"\1self_attn.[q_proj,k_proj,v_proj]."),
        (r"^(encoder\.layers\.\d+\.)attn\.proj\.", r"\1self_attn.out_proj."),
        (r"^(encoder\.layers\.\d+\.)mlp\.0\.", r"\1mlp.fc1."),
        (r"^(encoder\.layers\.\d+\.)mlp\.2\.", r"\1mlp.fc2."),
    ),
}
LEFT_OUT = {  # in the files, but no weights of the networks that are used
    "transformer": r"\.kernel$",  # constants of a blur
    "vae": r"(?!)",
    "text_encoder": r"^(spiece_model|encoder\.embed_tokens\.weight)$",
    "image_encoder": r"^(textual\.|log_scale$|logit_scale$|text_model\.|text_projection\.|visual\.head$|visual_projection\.)|position_ids$",
}


def renamed(component: str, name: str) -> tuple[str, ...]:
    """Return what the network calls a tensor of a file: several names where it is cut into equal parts, none where it isn't used."""
    if re.search(LEFT_OUT[component], name):
        return ()
    for pattern, new in RULES[component]:
        name = re.sub(pattern, new, name)
    cut = re.search(r"\[(.*)\]", name)
    return tuple(name.replace(cut[0], part) for part in cut[1].split(",")) if cut else (name,)


def sizes(component: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the settings of a network that the shapes of its tensors tell.

    Args:
        component: which network.
        shapes: by the network's own names.

    Raises:
        KeyError: if a tensor is missing that tells one; its argument is the name.
    """
    return _SIZES[component](shapes)


def _transformer(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    dim, head_dim = shapes["patch_embedding.weight"][0], shapes["face_adapter.0.norm_q.weight"][0]
    num_layers, num_res_blocks = _count(shapes, "blocks"), _count(shapes, "motion_encoder.res_blocks")
    side = 2 ** (num_res_blocks + 2)  # each halves the picture, to 4 pixels
    channels = {side: shapes["motion_encoder.conv_in.weight"][0]}
    for i in range(num_res_blocks):
        channels[side >> (i + 1)] = shapes[f"motion_encoder.res_blocks.{i}.conv2.weight"][0]
    out_dim, motion_dim = shapes["motion_encoder.motion_synthesis_weight"]
    embedder = "condition_embedder"
    return {
        "num_attention_heads": dim // head_dim,
        "attention_head_dim": head_dim,
        "added_kv_proj_dim": dim,  # its default drops the image's keys and values
        "num_layers": num_layers,
        "ffn_dim": shapes["blocks.0.ffn.net.0.proj.weight"][0],
        "text_dim": shapes[f"{embedder}.text_embedder.linear_1.weight"][1],
        "freq_dim": shapes[f"{embedder}.time_embedder.linear_1.weight"][1],
        "image_dim": shapes[f"{embedder}.image_embedder.norm1.weight"][0],
        "inject_face_latents_blocks": num_layers // _count(shapes, "face_adapter"),
        "motion_encoder_size": side,
        "motion_encoder_channel_sizes": {str(size): count for size, count in channels.items()},
        "motion_style_dim": shapes["motion_encoder.conv_out.weight"][0],
        "motion_dim": motion_dim,
        "motion_encoder_dim": out_dim,
        "face_encoder_hidden_dim": shapes["face_encoder.conv2.weight"][0],
        "face_encoder_num_heads": shapes["face_encoder.conv1_local.weight"][0]
        // shapes["face_encoder.conv2.weight"][0],
    }


def _vae(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    return {"base_dim": shapes["encoder.conv_in.weight"][0], "z_dim": shapes["post_quant_conv.weight"][0]}


def _text_encoder(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    first = "encoder.block.0.layer"
    num_buckets, num_heads = shapes[f"{first}.0.SelfAttention.relative_attention_bias.weight"]
    vocabulary, dim = shapes["shared.weight"]
    return {
        "vocab_size": vocabulary,
        "d_model": dim,
        "num_heads": num_heads,
        "relative_attention_num_buckets": num_buckets,
        "d_kv": shapes[f"{first}.0.SelfAttention.q.weight"][0] // num_heads,
        "d_ff": shapes[f"{first}.1.DenseReluDense.wi_0.weight"][0],
        "num_layers": _count(shapes, "encoder.block"),
    }


def _image_encoder(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    dim, patch = (shapes["embeddings.patch_embedding.weight"][i] for i in (0, -1))
    num_patches = shapes["embeddings.position_embedding.weight"][-2] - 1  # one more is the class
    return {
        "hidden_size": dim,
        "patch_size": patch,
        "image_size": round(num_patches**0.5) * patch,
        "intermediate_size": shapes["encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": _count(shapes, "encoder.layers"),
    }


def _count(shapes: Mapping[str, Any], of: str) -> int:
    return len({name[len(of) + 1 :].split(".")[0] for name in shapes if name.startswith(f"{of}.")})


_SIZES = {"transformer": _transformer, "vae": _vae, "text_encoder": _text_encoder, "image_encoder": _image_encoder}
