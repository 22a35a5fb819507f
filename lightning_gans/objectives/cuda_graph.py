"""A recording on an NVIDIA GPU: a CUDA graph."""

import warnings
from collections.abc import Callable, Iterable

import torch
from torch.optim import Optimizer

from lightning_gans.errors import first_sentence
from lightning_gans.objectives.recorded import Recording, Unrecordable

_A_WAIT = "called a synchronizing"
_OF_THE_MODE_ITSELF = "Synchronization debug mode is a prototype"
"""What CUDA's debug mode says of an operation that waits, and of itself, once in a process."""


class CUDAGraph(Recording):
    """Operations as one CUDA graph (see PyTorch's notes on CUDA graphs, "whole-network capture").

    Args:
        stream: Where all graphs of a game are rehearsed and recorded; not the default stream.
    """

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self._stream = stream
        self._graph = torch.cuda.CUDAGraph()

    def prepare(self, optimizers: Iterable[Optimizer]) -> None:
        """Let optimizers count their steps on the GPU.

        Raises:
            Unrecordable: If one counts in Python or on the CPU, where a recording would stand still.
        """
        # some kinds of rounds are still played in the ordinary way
        warnings.filterwarnings("ignore", message="This instance was constructed with capturable=True")
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                if "capturable" not in group:
                    _require_state_on_device(optimizer, group["params"])
                    continue
                group["capturable"] = True
                for parameter in group["params"]:
                    state = optimizer.state.get(parameter, {})
                    for name, value in state.items():
                        # the count of steps, and what NAdam derives from it
                        if isinstance(value, torch.Tensor) and value.dim() == 0:
                            state[name] = value.to(parameter.device)

    def rehearse(self, play: Callable[[], object], last: bool) -> None:
        """Do the operations on the stream of the recording.

        Args:
            play: Does them.
            last: Whether to look for operations that wait for the GPU; the first ones may, to allocate.

        Raises:
            Unrecordable: After they are done, if one of them waited.
        """
        self._stream.wait_stream(torch.cuda.current_stream())
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught, torch.cuda.stream(self._stream):
            warnings.simplefilter("always")
            try:
                if last:
                    torch.cuda.set_sync_debug_mode("warn")
                play()
            finally:
                if last:
                    torch.cuda.set_sync_debug_mode(before)
        torch.cuda.current_stream().wait_stream(self._stream)
        waits = []
        for warning in caught:
            text = str(warning.message)
            if text.startswith(_A_WAIT):
                waits.append(f"{warning.filename}, line {warning.lineno}")
            elif not text.startswith(_OF_THE_MODE_ITSELF):
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        if waits:
            raise Unrecordable(f"an operation of the round waits for the GPU ({waits[0]})")

    def record(self, play: Callable[[], object], generators: Iterable[torch.Generator]) -> None:
        """Capture the operations.

        Raises:
            Unrecordable: If CUDA refuses one of them.
        """
        if _registers_generators():
            for generator in generators:
                self._graph.register_generator_state(generator)
        try:
            # other threads may copy batches meanwhile
            with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
                play()
        except (RuntimeError, AssertionError) as error:
            # where the end of a broken recording fails too, what broke it is underneath
            cause = error.__context__ if isinstance(error.__context__, RuntimeError | AssertionError) else error
            raise Unrecordable(f"CUDA refuses to record the round: {first_sentence(cause)}") from error

    def replay(self) -> None:
        """Launch the graph on the current stream."""
        self._graph.replay()


def _registers_generators() -> bool:
    """Whether graphs must be told of the generators they draw from: since PyTorch 2.14 they notice by themselves."""
    return tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 14)


def _require_state_on_device(optimizer: Optimizer, parameters: Iterable[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        for name, value in optimizer.state.get(parameter, {}).items():
            counts = isinstance(value, int | float) and not isinstance(value, bool)
            if counts or (isinstance(value, torch.Tensor) and value.device != parameter.device):
                raise Unrecordable(f"{type(optimizer).__name__} keeps its {name} off the GPU")
