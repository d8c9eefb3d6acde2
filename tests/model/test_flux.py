"""FLUX.1-Kontext with tiny modules of the same kinds, saved and loaded as the real weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wanlab import config
from wanlab.model import flux_weights


def save_tiny(folder: Path) -> None:
    """Write a pipeline of all seven parts, of a few thousand random weights."""
    import torch
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
    from diffusers.pipelines.flux.pipeline_flux_kontext import FluxKontextPipeline
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5TokenizerFast

    torch.manual_seed(0)
    letters = [chr(code) for code in range(33, 127)]
    words = ["<|startoftext|>", "x!", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((piece, -1.0) for piece in ["▁", *letters])]
    FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        transformer=FluxTransformer2DModel(
            patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=1,
            joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
        ),
        vae=AutoencoderKL(
            block_out_channels=(4,) * 5, down_block_types=("DownEncoderBlock2D",) * 5, up_block_types=("UpDecoderBlock2D",) * 5,
            layers_per_block=1, latent_channels=1, norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
            shift_factor=0.06, scaling_factor=1.5,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                bos_token_id=0, eos_token_id=2, hidden_size=16, intermediate_size=16, num_attention_heads=1,
                num_hidden_layers=1, vocab_size=len(words), projection_dim=16,
            )
        ),
        tokenizer=CLIPTokenizer(vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77),
        text_encoder_2=T5EncoderModel(T5Config(vocab_size=len(pieces), d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=1)),
        tokenizer_2=T5TokenizerFast(vocab=pieces, extra_ids=0, model_max_length=512),
    ).save_pretrained(folder)  # fmt: skip


@pytest.mark.slow
def test_an_edited_image_keeps_the_shape_and_is_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wanlab.model import flux

    save_tiny(tmp_path / flux_weights.FOLDER)
    monkeypatch.setattr(flux, "NUM_STEPS", 1)
    edit = flux.load(flux_weights.find(tmp_path))
    image = np.random.default_rng(0).integers(0, 255, (120, 90, 3), np.uint8)
    one, again = (edit(image, "face forward") for _ in range(2))
    assert one.dtype == np.uint8
    assert one.shape[2] == 3
    assert one.shape[0] / one.shape[1] == pytest.approx(120 / 90, rel=0.03)
    np.testing.assert_array_equal(one, again)
    assert (one != edit(image, "arms extended")).any()


def test_missing_weights_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.paths, "CHECKPOINT_FOLDERS", (str(tmp_path / "default"),))
    line = r"accept its licence at huggingface.co.*gated, 34 GB.*download --source huggingface --only flux"
    with pytest.raises(FileNotFoundError, match=line):
        flux_weights.find(tmp_path)
    downloaded = tmp_path / "default" / flux_weights.FOLDER
    downloaded.mkdir(parents=True)
    (downloaded / "model_index.json").write_text("{}")
    assert flux_weights.find(tmp_path) == downloaded  # of a checkpoint without them, nano or ComfyUI's files
    (tmp_path / flux_weights.FOLDER).mkdir(parents=True)
    (tmp_path / flux_weights.FOLDER / "model_index.json").write_text("{}")
    folder = flux_weights.find(tmp_path)
    before = flux_weights.fingerprint(folder)
    (folder / "more.safetensors").write_bytes(b"x")
    assert flux_weights.fingerprint(folder) != before
