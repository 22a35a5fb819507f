"""Where half precision ends."""

import torch
from torch import Tensor


def full_precision(values: Tensor) -> Tensor:
    """Values in at least float32: what autocast made bfloat16 or float16 is widened, the rest is left alone.

    Losses and their sums need it: bfloat16 has eight bits, and a sum of many values stops growing.
    """
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
