"""Ways to train faster with the same results."""

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from torch import Tensor, nn

from lightning_gans.memory import keep_freed_memory
from lightning_gans.networks import Discriminator
from lightning_gans.objectives import Game
from lightning_gans.objectives.backward import listens
from lightning_gans.objectives.cuda_graph import CUDAGraph
from lightning_gans.objectives.recorded import RecordedRounds


class Speed(Callback):
    """Ways to train faster; none of them changes what is trained, to rounding.

    Args:
        graphs: Whether to record a round of the game as a CUDA graph and replay it, which pays where networks are so
            small that starting their operations takes longer than doing them. On anything but one GPU, and where a
            round cannot be recorded, training goes on without and says why.
        channels_last: Whether the weights of convolutions lie in memory with their channels last.
        compile: Whether to compile the networks with torch.compile, for training alone: scores come from the networks
            as they are written. The first steps take a minute or so.
        keep_memory: Whether a process that trains on a CPU keeps the memory that it frees instead of asking the system
            for it anew in every step; it then holds at least as much as it ever needed at once until it ends. Without
            effect where the C library is not glibc.
    """

    def __init__(
        self, graphs: bool = False, channels_last: bool = False, compile: bool = False, keep_memory: bool = True
    ):
        self.graphs = graphs
        self.channels_last = channels_last
        self.compile = compile
        self.keep_memory = keep_memory
        self._capturable: list[list[bool | None]] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lay out the weights and compile, before there are optimizers."""
        if stage != "fit" or not isinstance(pl_module, Game):
            return
        if self.channels_last:
            pl_module.to(memory_format=torch.channels_last)
        if self.keep_memory and trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
        if not torch.cuda.is_available():
            # Lightning has torch look for GPUs by way of the driver's library, and Adam looks in every step: a tenth
            # of a millisecond each where there is none
            os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"
        if self.compile:
            networks = [network for player in pl_module.players() for network in player.networks]
            for part in dict.fromkeys(part for network in networks for part in compiled_parts(network)):
                compile_for_training(part)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lay out what a checkpoint has brought; begin to record."""
        for optimizer in trainer.optimizers:
            for parameter, state in optimizer.state.items():
                for name, values in state.items():
                    if isinstance(values, Tensor) and values.shape == parameter.shape and name != "step":
                        # a fused step wants everything to lie in memory as the weights do
                        state[name] = torch.empty_like(parameter).copy_(values)
        if not self.graphs or not isinstance(pl_module, Game):
            return
        self._capturable = [[group.get("capturable") for group in o.param_groups] for o in trainer.optimizers]
        listener = next((type(c).__name__ for c in trainer.callbacks if listens(c)), None)  # type: ignore[attr-defined]
        if pl_module.device.type != "cuda":
            self._refuse(f"they need an NVIDIA GPU, and training is on the {pl_module.device.type}")
        elif trainer.world_size > 1:
            self._refuse(f"{trainer.world_size} processes share the training")
        elif listener is not None:
            self._refuse(f"the callback {listener} wants to be called at every backward, which no recording does")
        else:
            # backward passes remember the stream that they ran on, so rehearsals run where the recordings will
            pl_module.recorded_rounds = RecordedRounds(pl_module, partial(CUDAGraph, torch.cuda.Stream()))

    @staticmethod
    def _refuse(reason: str) -> None:
        rank_zero_warn(f"rounds are played one operation at a time, not as CUDA graphs: {reason}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the recordings' memory back."""
        if isinstance(pl_module, Game):
            pl_module.recorded_rounds = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the recordings' memory back, before that of the weights they work on is."""
        self.on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Leave no trace of recording in the optimizers' settings, which a CPU would refuse."""
        for state, flags in zip(checkpoint.get("optimizer_states", []), self._capturable, strict=False):
            for group, flag in zip(state["param_groups"], flags, strict=True):
                if flag is not None:
                    group["capturable"] = flag


def compiled_parts(network: nn.Module) -> list[nn.Module]:
    """What of a network is called as a whole: of a discriminator trunk and head, which other heads share."""
    return [network.trunk, network.head] if isinstance(network, Discriminator) else [network]


def compile_for_training(network: nn.Module) -> None:
    """Compile a network's forward in training mode; in evaluation mode it stays as it is written.

    Batches of other sizes, as evaluation has them, would each be compiled anew.
    """
    plain = network.forward
    compiled: Callable[..., Any] = torch.compile(plain)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return (compiled if network.training else plain)(*args, **kwargs)

    network.forward = forward
