"""What makes training faster leaves its results as they are."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch import Tensor
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader

from lightning_gans.__main__ import main
from lightning_gans.callbacks import Speed
from lightning_gans.callbacks.speed import compile_for_training
from lightning_gans.networks import MNISTDiscriminator, MNISTGenerator
from lightning_gans.objectives import InfoGAN
from tests.objectives.games import build, play, state_of

CONFIG = Path(__file__).parents[1] / "conf" / "tiny.yaml"
ADAM = partial(Adam, lr=1e-3, betas=(0.5, 0.999), fused=True)


def digits(n: int = 8, batches: int = 4) -> Any:
    random = torch.Generator().manual_seed(0)
    images = [torch.randint(256, (n, 1, 28, 28), dtype=torch.uint8, generator=random) for _ in range(batches)]
    return DataLoader([{"image": batch} for batch in images], batch_size=None)  # type: ignore[arg-type]


def convolutional(optimizer: Any = ADAM) -> Any:
    torch.manual_seed(3)
    return build(
        InfoGAN,
        generator=partial(MNISTGenerator, width=0.1),
        discriminator=MNISTDiscriminator(width=0.1),
        generator_optimizer=optimizer,
        discriminator_optimizer=optimizer,
        ema_decay=0.9,
    )


def trained(*callbacks: Any, steps: int = 1, **options: Any) -> dict[str, Tensor]:
    # not with Adam, which divides gradients that are rounding errors by their own size; and batch normalisation of
    # eight images makes rounding errors ten times as large in each step
    module = convolutional(partial(SGD, lr=0.05))
    play(module, steps, data=digits(), callbacks=callbacks, **options)
    return state_of(module)


def assert_same(one: dict[str, Tensor], two: dict[str, Tensor]) -> None:
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=2e-5, msg=lambda m, key=key: f"{key}: {m}")


def test_channels_last_changes_where_numbers_lie_and_not_what_they_are() -> None:
    module = convolutional(partial(SGD, lr=0.05))
    play(module, 1, data=digits(), callbacks=[Speed(channels_last=True)])
    convolutions = [p for p in module.parameters() if p.dim() == 4 and min(p.shape[1:]) > 1]
    assert convolutions and all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)
    assert_same(trained(), state_of(module))


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True), (True, True)])
def test_a_run_goes_on_with_its_numbers_laid_out_otherwise(tmp_path, first: bool, second: bool) -> None:
    module = convolutional()
    trainer = play(module, 2, data=digits(), callbacks=[Speed(channels_last=first)])
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    resumed = convolutional()
    options = {"data": digits(batches=8), "checkpoint": tmp_path / "half.ckpt"}
    trainer = play(resumed, 4, callbacks=[Speed(channels_last=second)], **options)
    for optimizer in trainer.optimizers:
        for parameter, state in optimizer.state.items():
            assert state["exp_avg"].stride() == parameter.stride()
    assert all(values.isfinite().all() for values in resumed.state_dict().values())


def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Compile by tracing forward and backward but without a C++ compiler, which takes a minute; what was compiled."""
    original, seen = torch.compile, []

    def compile_quickly(function: Any) -> Any:
        seen.append(function)
        return original(function, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", compile_quickly)
    return seen


def test_compiled_networks_learn_the_same(monkeypatch) -> None:
    compiled = traced(monkeypatch)
    found = trained(Speed(compile=True))
    # generator, trunk and head of the discriminator, and Q
    assert len(compiled) == 4
    assert_same(trained(), found)


@pytest.mark.slow
def test_networks_compiled_to_machine_code_learn_the_same() -> None:
    assert_same(trained(), trained(Speed(compile=True, channels_last=True)))


def test_a_compiled_network_is_evaluated_as_it_is_written(monkeypatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(torch, "compile", lambda function: lambda x: calls.append("compiled") or function(x))
    layer = torch.nn.Linear(2, 2)
    compile_for_training(layer)
    x = torch.ones(1, 2)
    assert torch.equal(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias))
    assert calls == ["compiled"]
    layer.eval()
    layer(x)
    assert calls == ["compiled"]
    assert list(layer.state_dict()) == ["weight", "bias"]


def test_without_a_gpu_the_command_line_trains_without_graphs_and_says_so(tmp_path, data_root, capsys) -> None:
    arguments = ["fit", "--config", str(CONFIG), "--runs", str(tmp_path), "--trainer.max_steps", "2"]
    with pytest.warns(UserWarning, match="not as CUDA graphs: they need an NVIDIA GPU, and training is on the cpu"):
        assert main([*arguments, "--speed.graphs", "true", "--trainer.accelerator", "cpu"]) == 0
    assert "finished after 2 steps" in capsys.readouterr().out


class Listener(Callback):
    def on_after_backward(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(("callbacks", "refused"), [([], False), ([Listener()], True)])
def test_graphs_are_refused_where_a_callback_listens_to_each_backward(callbacks, refused, monkeypatch) -> None:
    module = convolutional()
    play(module, 1, data=digits(), callbacks=callbacks)  # for its trainer
    monkeypatch.setattr(type(module), "device", torch.device("cuda"))
    monkeypatch.setattr("lightning_gans.callbacks.speed.RecordedRounds", lambda *_: "recorded")
    monkeypatch.setattr(torch.cuda, "Stream", lambda: None)
    with pytest.warns(UserWarning, match="the callback Listener wants") if refused else nullcontext():
        Speed(graphs=True).on_train_start(module.trainer, module)
    assert module.recorded_rounds == (None if refused else "recorded")


def test_recordings_do_not_outlive_a_fit_that_breaks_off() -> None:
    class Breaks(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            pl_module.recorded_rounds = "recorded"
            raise RuntimeError("broken off")

    module = convolutional()
    with pytest.raises(RuntimeError, match="broken off"):
        play(module, 2, data=digits(), callbacks=[Speed(), Breaks()])
    assert module.recorded_rounds is None


def test_memory_is_kept_in_training_on_a_cpu_unless_that_was_refused(monkeypatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr("lightning_gans.callbacks.speed.keep_freed_memory", lambda: told.append(True))
    play(convolutional(), 1, data=digits(), callbacks=[Speed(keep_memory=False)])
    assert told == []
    play(convolutional(), 1, data=digits(), callbacks=[Speed()])
    assert told == [True]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to be found")
def test_where_there_is_no_gpu_no_step_looks_for_one(monkeypatch) -> None:
    looked: list[bool] = []

    class Watched(Speed):
        def on_train_start(self, *arguments: Any) -> None:
            super().on_train_start(*arguments)
            monkeypatch.setattr("torch.cuda._device_count_nvml", lambda: looked.append(True) or 0)

    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # which importing Lightning does
    play(convolutional(), 2, data=digits(), callbacks=[Watched()])
    assert looked == []


def test_what_recording_needs_of_the_optimizers_is_not_saved() -> None:
    class Recorded(Speed):
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            for optimizer in trainer.optimizers:
                optimizer.param_groups[0]["capturable"] = True

    module = convolutional()
    trainer = play(module, 2, data=digits(), callbacks=[speed := Recorded(graphs=True)])
    states = [optimizer.state_dict() for optimizer in trainer.optimizers]
    assert all(state["param_groups"][0]["capturable"] for state in states)
    speed.on_save_checkpoint(trainer, module, {"optimizer_states": states})
    assert [state["param_groups"][0]["capturable"] for state in states] == [False, False]
