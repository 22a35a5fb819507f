"""Backward is Lightning's where somebody listens to it, else torch's own, and the same either way."""

from typing import Any

import pytest
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.profilers import SimpleProfiler
from torch import Tensor

from lightning_gans.objectives import GAN

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
        # beneath what `is_overridden` looks at
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
