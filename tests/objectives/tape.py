"""What a CUDA graph does, on a CPU: operations are recorded as they reach the kernels, and replayed."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_gans.objectives.recorded import Recording, Unrecordable

WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::lift_fresh", "aten::masked_select")
"""Operations that a GPU has to wait for, and constants that are copied to it."""


class Tape(Recording):
    """Knows nothing of Python: what changes outside of tensors between recording and replay is a wrong result."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []
        self.generators: list[torch.Generator] = []
        self.replays = 0

    def prepare(self, optimizers: Iterable[Optimizer]) -> None:
        pass

    def rehearse(self, play: Callable[[], object], last: bool) -> None:
        if not last:
            play()
            return
        watch = _Watch()
        with watch:
            play()
        if watch.waits:
            raise Unrecordable(f"an operation of the round waits for the GPU ({watch.waits[0]})")

    def record(self, play: Callable[[], object], generators: Iterable[torch.Generator]) -> None:
        self.generators = list(generators)
        memory = _Memory()
        drawn_from = [*self.generators, torch.default_generator]
        states = [generator.get_state() for generator in drawn_from]
        try:
            with _Recorder(self, memory):
                play()
        finally:
            # a recording does nothing: what it has written and drawn on this CPU is taken back
            memory.restore()
            for generator, state in zip(drawn_from, states, strict=True):
                generator.set_state(state)

    def replay(self) -> None:
        self.replays += 1
        # kernels alone: gradients and conversions were operations of their own
        with torch.autocast("cpu", enabled=False), torch._C._AutoDispatchBelowAutograd():
            for function, args, kwargs, outputs in self.operations:
                again = function(*args, **kwargs)
                for old, new in zip(tree_leaves(outputs), tree_leaves(again), strict=True):
                    if isinstance(old, Tensor) and old.untyped_storage()._cdata not in _storages((args, kwargs)):
                        old.copy_(new)


class _Memory:
    """What the storages held that are written to."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self.own: set[int] = set()

    def keep(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.kept and storage._cdata not in self.own:
            self.kept[storage._cdata] = (storage, storage.clone())

    def restore(self) -> None:
        for storage, before in self.kept.values():
            storage.copy_(before)


class _Watch(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function._schema.name in WAITS:
            self.waits.append(function._schema.name)
        return function(*args, **(kwargs or {}))


class _Recorder(TorchDispatchMode):
    def __init__(self, tape: Tape, memory: _Memory):
        super().__init__()
        self.tape, self.memory = tape, memory

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function._schema.name in WAITS:
            raise Unrecordable(f"CUDA refuses to record the round: {function._schema.name}")
        # the same generator arrives as another Python object, but with its seed
        seeds = [generator.initial_seed() for generator in self.tape.generators]
        for generator in (kwargs.get("generator"), *args):
            if isinstance(generator, torch.Generator) and generator.initial_seed() not in seeds:
                raise Unrecordable("a generator is not registered")
        # batch normalisation's schema does not say that it writes its running statistics
        if function._schema.is_mutable or "batch_norm" in function._schema.name:
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, Tensor):
                    self.memory.keep(leaf)
        outputs = function(*args, **kwargs)
        inputs = _storages((args, kwargs))
        for leaf in tree_leaves(outputs):
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in inputs:
                self.memory.own.add(leaf.untyped_storage()._cdata)
        self.tape.operations.append((function, args, kwargs, outputs))
        return outputs


def _storages(values: Any) -> set[int]:
    return {leaf.untyped_storage()._cdata for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}
