"""Tests of checkpoints and of the callbacks for Lightning and Keras."""

import json
import subprocess
import sys
import types
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True
from flow_stage import Context, callbacks  # noqa: E402
from test_stage import Base, is_installed  # noqa: E402


def context(work, said, checkpoints=True):
    request = {"stage": "s", "inputs": {}, "outputs": {}, "work": work, "seed": 1, "threads": 1, "device": "cpu"}
    events = types.SimpleNamespace(write=lambda line: said.append(json.loads(line)), flush=lambda: None)
    return Context(request, events, checkpoints)


class Checkpoints(Base):
    def test_a_stage_goes_on_from_its_last_checkpoint(self):
        said = []
        self.assertIsNone(context(self.folder, said).resume())
        context(self.folder, said).checkpoint({"epoch": 1, "weights": [0.5]})
        context(self.folder, said).checkpoint({"epoch": 2, "weights": [0.25]})
        self.assertEqual(context(self.folder, said).resume(), {"epoch": 2, "weights": [0.25]})
        with self.assertRaises(Exception):
            context(self.folder, said).checkpoint({"epoch": 3, "no": lambda: 0})
        self.assertEqual(context(self.folder, said).resume()["epoch"], 2)
        self.assertEqual(said, [])
        (self.folder / "checkpoint.pickle").write_bytes(b"\x80")
        self.assertIsNone(context(self.folder, said).resume())
        self.assertIn("the checkpoint can't be read, so the stage begins anew", said[0]["message"])

    def test_a_kind_that_keeps_none_says_so(self):
        with self.assertRaisesRegex(TypeError, "declare it with `checkpoints=True`"):
            context(self.folder, [], checkpoints=False).checkpoint(1)


class Network:
    """In the place of a model of Keras: what the callback asks of one, and what `fit` tells it."""

    def __init__(self):
        self.weights = 0.0

    def save_weights(self, path):
        Path(path).write_text(str(self.weights))

    def load_weights(self, path):
        self.weights = float(Path(path).read_text())

    def fit(self, callback, epochs, initial_epoch, fails_at=None):
        callback.set_params({"epochs": epochs, "steps": 2, "verbose": 0})
        callback.set_model(self)
        callback.on_train_begin()
        for epoch in range(initial_epoch, epochs):
            callback.on_epoch_begin(epoch)
            for batch in range(2):
                callback.on_train_batch_begin(batch)
                if (epoch, batch) == fails_at:
                    raise KeyboardInterrupt
                self.weights += 1
                callback.on_train_batch_end(batch, {"loss": 1.0})
            callback.on_epoch_end(epoch, {"loss": 1 / self.weights, "val_loss": 0.5})
        callback.on_train_end()


class Callbacks(Base):
    def test_a_training_of_keras_goes_on_and_tells_its_curves(self):
        said = []
        with self.assertRaises(KeyboardInterrupt):
            Network().fit(callbacks.KerasCallback(context(self.folder, said)), 4, 0, fails_at=(2, 1))
        report = callbacks.KerasCallback(context(self.folder, said))
        self.assertEqual(report.initial_epoch, 2)
        network = Network()
        network.fit(report, 4, report.initial_epoch)
        self.assertEqual(network.weights, 8)
        curve = [(event["step"], event["value"]) for event in said if event.get("name") == "loss" and "step" in event]
        self.assertEqual(curve, [(1, 1 / 2), (2, 1 / 4), (3, 1 / 6), (4, 1 / 8)])
        self.assertIn({"event": "metric", "name": "val_loss", "value": 0.5}, said)
        self.assertIn({"event": "progress", "done": 4, "total": 4, "unit": "epoch", "message": ""}, said)
        self.assertIn({"event": "progress", "done": 0, "total": 4, "unit": "epoch", "message": "batch 1/2"}, said)
        self.assertEqual([path.name for path in self.folder.glob("*.h5")], ["epoch-4.weights.h5"])

    def test_without_checkpoints_nothing_is_kept(self):
        report = callbacks.KerasCallback(context(self.folder, [], checkpoints=False))
        Network().fit(report, 2, report.initial_epoch)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_neither_library_is_imported_before_it_is_used(self):
        script = "import sys, flow_stage.callbacks; print({'lightning', 'keras', 'torch', 'numpy'} & sys.modules.keys())"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=HERE)
        self.assertEqual(done.stdout, "set()\n")

    def test_a_training_of_lightning_goes_on_and_tells_its_curves(self):
        said = []
        train = train_with_lightning if is_installed("lightning") else train_without_lightning
        with self.assertRaises(ZeroDivisionError):
            train(callbacks.lightning_callback, context(self.folder, said), fails_at=2)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["lightning.ckpt"])
        train(callbacks.lightning_callback, context(self.folder, said))
        curve = [event["step"] for event in said if event.get("name") == "train_loss" and "step" in event]
        self.assertEqual(curve, [1, 2, 3, 4])
        self.assertTrue(any(event.get("name") == "train_loss" and "step" not in event for event in said))
        self.assertFalse(any(event.get("name") == "train_loss_step" for event in said))
        self.assertIn({"event": "progress", "done": 4, "total": 4, "unit": "epoch", "message": ""}, said)
        self.assertIn({"event": "progress", "done": 0, "total": 4, "unit": "epoch", "message": "batch 1/2"}, said)


def train_with_lightning(make, context, fails_at=None):
    import lightning
    import torch

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, index):
            if self.current_epoch == fails_at:
                raise ZeroDivisionError
            loss = self.layer(batch[0]).square().mean()
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return {"loss": loss}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)
    report = make(context)
    trainer = lightning.Trainer(max_epochs=4, callbacks=[report], logger=False, enable_progress_bar=False, accelerator="cpu",
                                enable_model_summary=False, default_root_dir=context.work)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(4, 2)), 2)
    trainer.fit(Module(), data, ckpt_path=report.checkpoint)


def train_without_lightning(make, context, fails_at=None):
    """In the place of Lightning, where that is not installed: the moments that its `Trainer` tells, in its order."""
    from unittest import mock

    class Checkpoint:
        pass
    modules = {"lightning": types.ModuleType("lightning"), "lightning.pytorch": types.ModuleType("lightning.pytorch"),
               "lightning.pytorch.callbacks": types.SimpleNamespace(Checkpoint=Checkpoint)}
    with mock.patch.dict(sys.modules, modules):
        report = make(context)
    first = int(Path(report.checkpoint).read_text()) if report.checkpoint else 0
    trainer = types.SimpleNamespace(is_global_zero=True, max_epochs=4, num_training_batches=2)
    for epoch in range(first, 4):
        trainer.current_epoch = epoch
        for batch in range(2):
            if epoch == fails_at:
                raise ZeroDivisionError
            report.on_train_batch_end(trainer, None, None, None, batch)
        trainer.callback_metrics = {"train_loss": 0.5, "train_loss_step": 0.25, "train_loss_epoch": 0.5}
        trainer.save_checkpoint = lambda path: Path(path).write_text(str(epoch + 1))
        report.on_train_epoch_end(trainer, None)
    report.on_train_end(trainer, None)


if __name__ == "__main__":
    unittest.main()
