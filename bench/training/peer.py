"""PyTorch and Lightning on the networks that `flow` trains; started by run.py.

    peer.py train|lightning|infer NET PRECISION DATA THREADS EPOCHS
    peer.py uncertainty NET PRECISION DATA THREADS IMAGES

Prints seconds and CPU seconds of each epoch (or pass) after the first as JSON. DATA is a data set of flow's: the same images,
classes and normalisation. PyTorch runs with its best settings for a CPU: channels-last, autocast for bf16, the data set as one
tensor in memory, the optimiser's default (foreach).
"""

import json
import logging
import pathlib
import sys
import time
import warnings

import numpy
import torch
import torch.nn.functional as functional
from torch import nn

BATCH = {"resnet18": 64, "resnet": 128, "cnn": 128}
INFERENCE = 500


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu_()
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return y.relu_()


def network(name, channels, classes):
    layers, width = [], channels
    if name == "cnn":
        for number, outputs in enumerate([32, 64, 128]):
            layers += [nn.Conv2d(width, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(2)] if number < 2 else []
            width = outputs
    else:
        stages = [(2, 64), (2, 128), (2, 256), (2, 512)] if name == "resnet18" else [(3, 16), (3, 32), (3, 64)]
        width = stages[0][1]
        layers += [nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        for stage, (blocks, outputs) in enumerate(stages):
            for block in range(blocks):
                layers.append(Block(width, outputs, 2 if stage and not block else 1))
                width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


class Data:
    """The rows of the three parts, and the batches of the first: all in memory, normalised a batch at a time."""

    def __init__(self, folder, precision):
        meta = json.loads((folder / "dataset.json").read_text())
        self.images = torch.from_numpy(numpy.load(folder / "images.npy"))
        self.labels = torch.from_numpy(numpy.load(folder / "coarse.npy")).long()
        split = numpy.load(folder / "split.npy")
        self.train, self.val, self.test = (torch.from_numpy(numpy.flatnonzero(split == part)) for part in range(3))
        self.mean = torch.tensor(meta["mean"]).view(1, -1, 1, 1)
        self.std = torch.tensor(meta["std"]).view(1, -1, 1, 1)
        self.channels, self.classes = self.images.shape[1], len(meta["coarse_names"])
        self.autocast = lambda: torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")

    def batch(self, rows):
        images = self.images[rows].float().div_(255).sub_(self.mean).div_(self.std)
        return images.contiguous(memory_format=torch.channels_last)


def clock():
    return time.perf_counter(), time.process_time()


def sgd(net):
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    return optimiser, torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=10, eta_min=1e-6)


def train(net, data, size, epochs):
    """A plain loop. What it counts is what flow counts: loss and accuracy of each batch."""
    optimiser, schedule = sgd(net)
    times = []
    for _ in range(epochs):
        begin = clock()
        net.train()
        total, correct = 0.0, 0
        for rows in data.train[torch.randperm(len(data.train))].split(size):
            labels = data.labels[rows]
            optimiser.zero_grad()
            with data.autocast():
                logits = net(data.batch(rows))
            loss = functional.cross_entropy(logits.float(), labels)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(rows)
            correct += (logits.argmax(1) == labels).sum().item()
        schedule.step()
        times.append([now - then for now, then in zip(clock(), begin)])
    return times


def infer(net, data, epochs):
    """Softmax outputs of all training rows."""
    net.eval()
    times = []
    for _ in range(epochs):
        begin = clock()
        with torch.no_grad(), data.autocast():
            for rows in data.train.split(INFERENCE):
                net(data.batch(rows)).double().softmax(1).numpy()
        times.append([now - then for now, then in zip(clock(), begin)])
    return times


def lightning(net, data, size, epochs, precision):
    """Lightning's loop as its users write it: a LightningModule that logs loss and accuracy, a DataLoader, a checkpoint an
    epoch. Images are normalised once, before the loop."""
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    import pytorch_lightning as pl

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = net
            self.times = []

        def training_step(self, batch, _):
            images, labels = batch
            logits = self.net(images)
            loss = functional.cross_entropy(logits.float(), labels)
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            self.log("train_accuracy", (logits.argmax(1) == labels).float().mean(), on_step=False, on_epoch=True)
            return loss

        def on_train_epoch_start(self):
            self.begin = clock()

        def on_train_epoch_end(self):
            self.times.append([now - then for now, then in zip(clock(), self.begin)])

        def configure_optimizers(self):
            optimiser, schedule = sgd(self.net)
            return [optimiser], [schedule]

    rows = torch.utils.data.TensorDataset(data.batch(data.train), data.labels[data.train])
    loader = torch.utils.data.DataLoader(rows, batch_size=size, shuffle=True)
    module = Module()
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=pathlib.Path(sys.argv[4]).parent / "lightning",
    )
    trainer.fit(module, loader)
    return module.times


def uncertainty(net, data, count):
    """As the method's authors do it: an image at a time, five random flips, each by itself."""
    net.eval()
    softmax = nn.Softmax(dim=1)
    begin = clock()
    with torch.no_grad(), data.autocast():
        for row in data.train[:count]:
            image, mean = data.batch(row.view(1)), 0
            for _ in range(5):
                flips = [3] * (torch.rand(1).item() < 0.8) + [2] * (torch.rand(1).item() < 0.3)
                mean = mean + softmax(net(image.flip(flips) if flips else image).float()) / 5
            mean.max().item()
    return [[now - then for now, then in zip(clock(), begin)]]


def main():
    what, name, precision, folder, threads, number = sys.argv[1:]
    torch.set_num_threads(int(threads))
    torch.set_num_interop_threads(1)
    torch.manual_seed(0)
    data = Data(pathlib.Path(folder), precision)
    net = network(name, data.channels, data.classes).to(memory_format=torch.channels_last)
    number, size = int(number), BATCH[name]
    if what == "uncertainty":
        times = uncertainty(net, data, number)
    elif what == "infer":
        times = infer(net, data, number)[1:]
    elif what == "train":
        times = train(net, data, size, number)[1:]
    else:
        times = lightning(net, data, size, number, precision)[1:]
    print(json.dumps(times))


if __name__ == "__main__":
    main()
