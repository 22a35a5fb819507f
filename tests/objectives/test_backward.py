"""Backward is Lightning's where somebody listens to it, else torch's own, and the same either way."""

from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.plugins import Precision
from lightning.pytorch.profilers import SimpleProfiler
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from lightning_gans.objectives import GAN
from lightning_gans.objectives.backward import somebody_listens

from .games import all_equal, build, play, state_of


class Listening(Callback):
    """Counts backwards and sees their gradients."""

    def __init__(self) -> None:
        self.before, self.after = 0, 0

    def on_before_backward(self, trainer: Trainer, pl_module: Any, loss: Tensor) -> None:
        self.before += 1

    def on_after_backward(self, trainer: Trainer, pl_module: Any) -> None:
        assert any(parameter.grad is not None for parameter in pl_module.parameters())
        self.after += 1


def manual_backwards(monkeypatch: pytest.MonkeyPatch, steps: int = 3, **options: Any) -> tuple[int, Any]:
    """How many of a game's backwards went through Lightning, and the weights after it."""
    module, count = build(), 0
    plain = GAN.manual_backward

    def counting(self: Any, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += 1
        plain(self, loss, *args, **kwargs)

    with monkeypatch.context() as patch:
        # on the class that others are compared with, so that it is nobody's own
        patch.setattr("lightning.pytorch.LightningModule.manual_backward", counting)
        play(module, steps, **options)
    return count, state_of(module)


def test_callbacks_that_ask_for_it_see_every_backward() -> None:
    listening, called = Listening(), []
    play(build(), 3, callbacks=[listening, LambdaCallback(on_after_backward=lambda *_: called.append(True))])
    assert (listening.before, listening.after, len(called)) == (6, 6, 6)


@pytest.mark.parametrize(
    "options",
    [{"callbacks": [LambdaCallback(on_before_backward=lambda *_: None)]}, {"profiler": SimpleProfiler()}],
    ids=["a callback", "a profiler"],
)
def test_lightning_is_left_out_where_nobody_listens_and_trains_the_same(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, weights = manual_backwards(monkeypatch, **options)
    unheard, same = manual_backwards(monkeypatch, callbacks=[LambdaCallback(on_train_batch_end=lambda *_: None)])
    assert (heard, unheard) == (6, 0)
    assert all_equal(weights.values(), same.values())


class CountsItself:
    """A callable that is no function."""

    calls = 0

    def __call__(self, *_: Any) -> None:
        self.calls += 1


def test_any_callable_in_a_hooks_place_is_called() -> None:
    counter = CountsItself()
    play(build(), 3, callbacks=[LambdaCallback(on_after_backward=counter)])  # type: ignore[arg-type]
    assert counter.calls == 6


class OwnPrecision(Precision):
    """A plugin that looks at each loss."""

    seen = 0

    def pre_backward(self, tensor: Tensor, module: Any) -> Tensor:
        self.seen += 1
        return super().pre_backward(tensor, module)


def test_a_precision_of_somebodys_own_is_asked() -> None:
    plugin = OwnPrecision()
    play(build(), 3, plugins=[plugin])
    assert plugin.seen == 6


def test_several_processes_begin_their_averaging_in_lightnings_backward() -> None:
    module = build()
    module.trainer = Trainer(accelerator="cpu", devices=1, strategy=DDPStrategy(), logger=False)
    assert somebody_listens(module)
    module.trainer = Trainer(accelerator="cpu", devices=1, logger=False)
    assert not somebody_listens(module)


def test_a_module_with_a_backward_of_its_own_keeps_it() -> None:
    class Own(GAN):
        backwards = 0

        def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
            self.backwards += 1
            super().backward(loss, *args, **kwargs)

    module = build(Own)
    play(module, 3)
    assert isinstance(module, Own)
    assert module.backwards == 6
