"""What can be seen of a run before it begins."""

from types import SimpleNamespace

import pytest

from lightning_gans.settings import unscored_because


def settings(end: int, every: object, **others: object) -> SimpleNamespace:
    trainer = {"limit_val_batches": None, "check_val_every_n_epoch": None, "fast_dev_run": False, **others}
    return SimpleNamespace(trainer=SimpleNamespace(max_steps=end, val_check_interval=every, **trainer))


@pytest.mark.parametrize(("end", "every", "begun", "steps"), [
    (9, 10, 0, "in 9 steps"),
    (10, 10, 0, None),
    # a session of the same folder that begins late may have been validated before
    (25, 20, 0, None),
    (25, 20, 20, "between steps 20 and 25"),
    (40, 20, 20, None),
    (40, 20, 39, None),
])  # fmt: skip
def test_a_run_without_a_validation_is_known_before_it_begins(end, every, begun, steps):
    expected = steps and f"no validation {steps} (one every {every})"
    assert unscored_because(settings(end, every), begun) == expected


@pytest.mark.parametrize(
    ("end", "every", "others"),
    [
        (-1, 10, {}),
        (9, 1.0, {"check_val_every_n_epoch": 1}),
        (9, 10, {"check_val_every_n_epoch": 1}),
        (9, "00:01:00:00", {}),
        (9, 10, {"limit_val_batches": 0}),
        (9, 10, {"fast_dev_run": True}),
    ],
)
def test_where_validations_are_switched_off_or_not_counted_in_steps_nothing_is_said(end, every, others):
    assert unscored_because(settings(end, every, **others)) is None
