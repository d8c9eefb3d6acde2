"""Stands in for the torch of the clone's environment."""

import os

__version__ = "2.8.0+cu128"


class version:  # noqa: N801
    cuda = "12.8"


class cuda:  # noqa: N801
    @staticmethod
    def device_count() -> int:
        return int(os.environ.get("WAN22_STUB_GPUS", "1"))

    @staticmethod
    def get_device_name(_: int) -> str:
        return "NVIDIA H100 80GB HBM3"

    @staticmethod
    def get_device_capability(_: int) -> tuple[int, int]:
        return 9, 0
