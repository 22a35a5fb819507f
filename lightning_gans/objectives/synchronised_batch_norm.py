"""Batch normalisation with the statistics of all ranks, for processes on CPUs.

PyTorch's `SyncBatchNorm` takes tensors on accelerators only. This is the same layer in communications that every
backend has; on GPUs PyTorch's own, which is fused, remains the one to use.
"""

from typing import Any

import torch
import torch.distributed
from lightning.pytorch.plugins import LayerSync
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks; backwards, the sum of what all ranks' losses ask of it."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        """The sum, on every rank."""
        total = tensor.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """The sum again: every rank's loss depends on every rank's part."""
        total: Tensor = SumOverRanks.apply(gradient)  # itself differentiable, for gradient penalties
        return total


class PortableSyncBatchNorm(_BatchNorm):
    """Normalises by mean and variance over the batches of all ranks, which must be equally large.

    The mean is found first and the variance around it (two communications), as exact as one process is.
    """

    @classmethod
    def of(cls, layer: _BatchNorm) -> "PortableSyncBatchNorm":
        """A layer with the parameters and running statistics of another, not copies of them."""
        own = cls(layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats)
        for name, parameter in layer.named_parameters():
            own.register_parameter(name, parameter)
        for name, buffer in layer.named_buffers():
            own.register_buffer(name, buffer)
        return own.train(layer.training)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions; the layer that is replaced would have checked."""

    def forward(self, samples: Tensor) -> Tensor:
        """Samples of shape (B, C, ...), normalised; in evaluation by the running statistics."""
        if not self.training:
            return super().forward(samples)
        momentum, ranks = self.momentum, torch.distributed.get_world_size()
        assert momentum is not None and self.running_mean is not None and self.running_var is not None
        over = [axis for axis in range(samples.dim()) if axis != 1]
        shape = [1, -1] + [1] * (samples.dim() - 2)
        n = samples.numel() // samples.shape[1] * ranks
        mean = SumOverRanks.apply(samples.sum(over)) / n
        centred = samples - mean.view(shape)
        variance = SumOverRanks.apply(centred.square().sum(over)) / n
        with torch.no_grad():
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (n / (n - 1)), momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            return centred * (scale * self.weight).view(shape) + self.bias.view(shape)
        return centred * scale.view(shape)


class PortableBatchNormSync(LayerSync):
    """What ``trainer.sync_batchnorm`` does on CPUs: replaces every batch normalisation while a model is trained."""

    def __init__(self) -> None:
        self._replaced: list[tuple[nn.Module, str, nn.Module]] = []

    def apply(self, model: nn.Module) -> nn.Module:
        """The model with `PortableSyncBatchNorm` in place of every batch normalisation, of the same tensors."""
        for parent in list(model.modules()):
            for name, child in parent.named_children():
                if isinstance(child, _BatchNorm):
                    self._replaced.append((parent, name, child))
                    parent.add_module(name, PortableSyncBatchNorm.of(child))
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """The model with its own layers, which hold what was learned."""
        for parent, name, child in self._replaced:
            child.train(parent.training)
            parent.add_module(name, child)
        self._replaced.clear()
        return model
