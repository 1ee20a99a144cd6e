"""Whether the device that somebody asks for is there."""

import torch

from dlb_core.contracts import Device
from dlb_core.errors import BadOption


def require_device(device: Device) -> None:
    """Refuse a card that is not there, before any work is done.

    Raises
    ------
    BadOption
        PyTorch finds no GPU.
    """
    if device is Device.CUDA and not torch.cuda.is_available():
        raise BadOption("device 'cuda' was asked for, but PyTorch finds no GPU: use device 'cpu'")
