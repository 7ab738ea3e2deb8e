"""Callbacks for trainings: progress, curves and checkpoints of Lightning and Keras. Neither is imported before it is used."""

import importlib
import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .context import Context

#: Seconds between two messages about batches: more often nobody reads.
INTERVAL = 0.5


def lightning_callback(context: Context) -> Any:
    """A callback for `Trainer(callbacks=[…])` of Lightning 2, `lightning` or `pytorch_lightning`.

    It tells how far the training is, and at the end of each epoch what the modules logged, as curves (and at the last one
    as figures). Where the kind has `checkpoints=True` it keeps the whole training after each epoch, and its `checkpoint`
    is the one to go on from, or None:

        report = lightning_callback(context)
        trainer = Trainer(callbacks=[report], logger=False, enable_progress_bar=False, default_root_dir=context.work)
        trainer.fit(module, data, ckpt_path=report.checkpoint)

    As a callback of Lightning's type `Checkpoint` it takes the place of the one that `Trainer` adds by itself.
    """
    # The one whose `Trainer` the plugin uses: the two have types of their own.
    names = ["lightning.pytorch", "pytorch_lightning"]
    name = next((name for name in names if name in sys.modules), names[0])
    base: Any = importlib.import_module(f"{name}.callbacks").Checkpoint
    path = context.work / "lightning.ckpt"
    pace = _Pace(context)

    class Report(base):  # type: ignore[misc]
        checkpoint = str(path) if path.exists() else None

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            if trainer.is_global_zero:
                pace.batch(trainer.current_epoch, trainer.max_epochs, index + 1, trainer.num_training_batches)

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if trainer.is_global_zero:
                logged = trainer.callback_metrics
                # Of what is logged by step and by epoch, the epoch's.
                logged = {name: value for name, value in logged.items() if not name.endswith("_step")}
                pace.epoch(trainer.current_epoch + 1, trainer.max_epochs, logged)
            if context.keeps_checkpoints:
                new = path.with_suffix(".new")
                # All processes of a training take part in it.
                trainer.save_checkpoint(new)
                if trainer.is_global_zero:
                    os.replace(new, path)

        def on_train_end(self, trainer: Any, module: Any) -> None:
            if trainer.is_global_zero:
                pace.end()

    return Report()


class KerasCallback:
    """A callback for `model.fit(…, callbacks=[…])` of Keras 2 and 3, and of whatever calls the same methods.

    It tells how far the training is, and at the end of each epoch its logs, as curves (and at the last one as figures).
    Where the kind has `checkpoints=True` it keeps the weights after each epoch, those of the optimizer too, and takes them
    back when the training begins; `initial_epoch` is how many epochs they have seen:

        report = KerasCallback(context)
        model.fit(x, y, epochs=20, initial_epoch=report.initial_epoch, callbacks=[report], verbose=0)
    """

    def __init__(self, context: Context) -> None:
        self.model: Any = None
        self.params: dict[str, Any] = {}
        self._context = context
        self._pace = _Pace(context)
        self._epoch = 0
        kept = {int(match[1]): path for path in context.work.glob("*.weights.h5")
                if (match := re.fullmatch(r"epoch-(\d+)\.weights\.h5", path.name))}
        self.initial_epoch = max(kept, default=0)
        self._kept: Path | None = kept.get(self.initial_epoch)

    def set_params(self, params: dict[str, Any] | None) -> None:
        """What `fit` was called with: `epochs`, `steps`."""
        self.params = params or {}

    def set_model(self, model: Any) -> None:
        """The model that is trained."""
        self.model = model

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Takes the weights back."""
        if self._kept:
            self.model.load_weights(str(self._kept))

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Notes the epoch, which begins at 0."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tells how far the epoch is."""
        self._pace.batch(self._epoch, self.params.get("epochs"), batch + 1, self.params.get("steps"))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tells the epoch's logs, and keeps the weights."""
        self._pace.epoch(epoch + 1, self.params.get("epochs"), logs or {})
        if self._context.keeps_checkpoints:
            new = self._context.work / "new.weights.h5"
            self.model.save_weights(str(new))
            before, self._kept = self._kept, self._context.work / f"epoch-{epoch + 1}.weights.h5"
            os.replace(new, self._kept)
            if before and before != self._kept:
                before.unlink()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Tells the last epoch's logs as figures."""
        self._pace.end()

    def __getattr__(self, name: str) -> Any:
        # The other moments that Keras tells.
        if name.startswith("on_"):
            return _nothing
        raise AttributeError(f"{type(self).__name__} has no `{name}`")


def _nothing(*_: Any, **__: Any) -> None:
    pass


class _Pace:
    """What a training tells: epochs, batches now and then, curves, and at the end the figures."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told = 0.0
        self._last: dict[str, float] = {}

    def batch(self, epoch: int, epochs: Any, batch: int, batches: Any) -> None:
        if time.monotonic() - self._told > INTERVAL:
            self._told = time.monotonic()
            of = f"/{int(_count(batches))}" if _count(batches) else ""
            self._context.progress(epoch, _count(epochs), "epoch", f"batch {batch}{of}")

    def epoch(self, done: int, epochs: Any, logs: Mapping[str, Any]) -> None:
        self._context.progress(done, _count(epochs), "epoch")
        self._last = {name: float(value) for name, value in logs.items()}
        for name, value in self._last.items():
            self._context.metric(name, value, step=done)

    def end(self) -> None:
        for name, value in self._last.items():
            self._context.metric(name, value)


def _count(number: Any) -> int:
    """A number of epochs or batches; 0 where there is none, or no end."""
    return int(number) if isinstance(number, (int, float)) and 0 < number < float("inf") else 0
