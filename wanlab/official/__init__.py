"""The official scripts as a backend: the user's clone of Wan2.2 does a step."""

from wanlab.official.backend import (
    BLACK,
    FPS,
    HEADS,
    MASK_CHAIN,
    ORIGINAL,
    TF32,
    Generation,
    Preprocessing,
    check,
    faults_of_generation,
    generate,
    generate_arguments,
    nearest_size,
    num_gpus,
    num_tokens,
    preprocess,
    preprocess_arguments,
)
