"""Stacked MNIST is made of three digits each, and its modes are counted as they are."""

import math

import pytest
import torch
from torch.nn.functional import one_hot

from lightning_gans.data import MNIST, StackedMNIST
from lightning_gans.errors import InputError
from lightning_gans.metrics import StackedModes
from lightning_gans.metrics.features import MNISTConvNet


def stacked(root="no-data-here", **options) -> StackedMNIST:
    sizes = {"train_size": 50, "evaluation_size": 40} | options
    return StackedMNIST(str(root), download=False, fallback="digits", **sizes)


def test_each_channel_is_a_digit_of_the_split_and_the_label_names_all_three():
    digits, data = MNIST("no-data-here", download=False, fallback="digits"), stacked()
    for name in ("train", "validation", "test"):
        split, of_digits = data.split(name), digits.split(name)
        assert split.images.shape == (50 if name == "train" else 40, 3, 28, 28)
        for image, label in zip(split.images[:5], split.labels[:5].tolist(), strict=True):
            for channel, digit in zip(image, (label // 100, label // 10 % 10, label % 10), strict=True):
                (found,) = (of_digits.images[:, 0] == channel).all(2).all(1).nonzero()[:1]
                assert of_digits.labels[found] == digit


def test_the_images_do_not_depend_on_the_runs_seed_and_sizes_are_cut_from_one_sequence():
    first, second = stacked(seed=0), stacked(seed=1)
    assert torch.equal(first.split("train").images, second.split("train").images)
    assert first.fingerprint == second.fingerprint != stacked(train_size=49).fingerprint
    assert first.name == "stacked digits (fallback for mnist)" and first.is_fallback
    fewer = stacked(train_size=20).split("train")
    assert torch.equal(first.split("train").images[:20], fewer.images)
    assert torch.equal(first.split("train").labels[:20], fewer.labels)


def test_the_three_digits_of_an_image_are_drawn_independently():
    labels = stacked(evaluation_size=2000).split("test").labels
    digits = torch.stack([labels // 100, labels // 10 % 10, labels % 10])
    for one, other in ((0, 1), (0, 2), (1, 2)):
        # four standard deviations of the share of 2000 that agree, each with probability 1/10
        assert (digits[one] == digits[other]).double().mean() == pytest.approx(0.1, abs=4 * (0.09 / 2000) ** 0.5)


def test_of_equally_many_digits_every_split_stacks_others(monkeypatch):
    data = stacked(train_size=40)
    digits = data.digits.split("test")
    monkeypatch.setattr(data.digits, "split", lambda name: digits)
    labels = [data.split(name).labels for name in ("train", "validation", "test")]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        # by chance one in a thousand
        assert (labels[one] == labels[other]).double().mean() < 0.1


def test_an_empty_split_is_refused():
    with pytest.raises(InputError, match="train_size is 0"):
        stacked(train_size=0)


def test_modes_and_kl_are_counted_over_batches():
    digits = torch.tensor([[0, 0, 1], [0, 0, 1], [9, 8, 7], [1, 2, 3]])
    metric = StackedModes()
    for part in digits.split(3):
        metric.update(one_hot(part, 10).float())
    found = metric.compute()
    assert found.modes == 3
    # shares 1/2, 1/4, 1/4 against 1/1000 each
    assert found.reverse_kl == pytest.approx(math.log(1000) - 1.5 * math.log(2), rel=1e-12)
    assert metric.counts[1] == 2 and metric.counts[987] == 1 and metric.counts[123] == 1


def test_merged_halves_are_the_whole():
    digits = torch.randint(10, (50, 3), generator=torch.Generator().manual_seed(0)) // 4
    whole, *halves = (StackedModes() for _ in range(3))
    for metric, part in ((whole, digits), (halves[0], digits[:20]), (halves[1], digits[20:])):
        metric.update(one_hot(part, 10).float())
    halves[0].merge_state(halves[1])
    assert halves[0].compute() == whole.compute()


def test_all_modes_equally_often_have_no_divergence():
    every = torch.cartesian_prod(*[torch.arange(10)] * 3)
    metric = StackedModes()
    metric.update(one_hot(every, 10).float())
    assert metric.compute().modes == 1000 and metric.compute().reverse_kl == pytest.approx(0, abs=1e-12)


def test_nothing_and_another_shape_are_refused():
    with pytest.raises(InputError, match="call update first"):
        StackedModes().compute()
    with pytest.raises(InputError, match=r"\(B, 3, 10\)"):
        StackedModes().update(torch.zeros(4, 30))


def test_the_classifier_reads_the_labels_of_real_stacked_digits(data_root):
    from lightning_gans.callbacks import StackedModesPanel

    test = stacked(data_root, evaluation_size=300).split("test")
    panel = StackedModesPanel()
    panel._classifier = MNISTConvNet()
    logits = panel.read(test.images)
    said = logits.argmax(2) @ torch.tensor([100, 10, 1])
    # 99.58 % for each digit
    assert float((said == test.labels).float().mean()) > 0.96
    metric = StackedModes()
    metric.update(logits)
    assert abs(metric.compute().modes - len(test.labels.unique())) <= 10
