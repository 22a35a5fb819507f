"""Where a run stands in its training data, read from and given to Lightning's loop counters.

A position is (epoch, rounds trained in it), and a finished epoch is the beginning of the next one: after the
last of 5 rounds of epoch 0 the position is (1, 0).

Lightning 2.6 resumes correctly from a checkpoint that was saved in ``on_train_batch_end`` by a run that had
itself not been resumed at the end of an epoch. From checkpoints saved in another hook, at the end of
``max_steps``, or by such a resumed run, its counters repeat or skip rounds. So when a run is resumed, the
counters are set to what that one good case would have left behind.
"""

from lightning.pytorch import Trainer


def get_position(trainer: Trainer, epoch: int) -> tuple[int, int]:
    """Give the position of a running, interrupted or finished fit.

    Args:
        trainer: The trainer that fits.
        epoch: The epoch that its sampler was last set to. ``trainer.current_epoch`` would not do: it is one
            ahead of the counters of rounds in ``on_train_epoch_end``.
    """
    begun = trainer.fit_loop.epoch_progress.current
    # `processed` counts the rounds whose training step has returned; `ready` would count an interrupted one.
    trained = trainer.fit_loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
    if begun.ready > begun.started:  # type: ignore[attr-defined]
        return epoch, 0  # in on_train_epoch_start, where the rounds are still those of the epoch before
    return (epoch, trained) if trained < trainer.num_training_batches else (epoch + 1, 0)


def set_position(trainer: Trainer, epoch: int, offset: int, rounds: int) -> None:
    """Make the loop counters of a trainer that is about to resume agree with the position.

    Args:
        trainer: The trainer, with the checkpoint's counters loaded and its loops not yet running.
        epoch: Epoch to continue.
        offset: Rounds trained in it.
        rounds: Rounds in an epoch, or more.
    """
    fit_loop, epoch_loop = trainer.fit_loop, trainer.fit_loop.epoch_loop
    if epoch == 0 and offset == 0:
        # Nothing is trained yet, so this is a start: a restart at 0 counts a step that never was. (The public
        # setter of FitLoop makes it a restart whenever max_steps is given.)
        for loop in (fit_loop, epoch_loop, epoch_loop.val_loop, epoch_loop.manual_optimization):
            loop._restarting = False
        return
    at_end = offset == 0  # then the good case is the last round of the epoch before
    unfinished = epoch - 1 if at_end else epoch
    for epochs in (fit_loop.epoch_progress.total, fit_loop.epoch_progress.current):
        epochs.ready = epochs.started = unfinished + 1  # type: ignore[attr-defined]
        epochs.processed = epochs.completed = unfinished  # type: ignore[attr-defined]
    progress = epoch_loop.batch_progress
    trained = progress.total.processed  # type: ignore[attr-defined]
    for batches, count in ((progress.total, trained), (progress.current, rounds if at_end else offset)):
        batches.ready = batches.started = batches.processed = count  # type: ignore[attr-defined]
        batches.completed = count - 1  # completed only after on_train_batch_end
    progress.is_last_batch = at_end
    if trainer.accumulate_grad_batches == 1:
        epoch_loop._batches_that_stepped = trained - 1  # the loggers' step, counted after on_train_batch_end
    fit_loop.restarting = True  # Lightning had decided this when it loaded the counters
