"""Writes the checkpoints of this folder's `checkpoint/`, for the tests of `src/pickle/`.

    pip install torch==2.13.0 && python checkpoint.py

The first three files hold the state dict of a small network: a convolution in channels-last order, a batch norm and a
linear layer whose weights are every other row of a longer tensor. All values count up from 0 in a tensor's own order.

`wrapped/` holds the state dict of a `cnn` of width 2 as training scripts leave it: `cnn.pth` alone, the others below.
"""

import argparse
import pathlib
import pickle

import torch

FOLDER = pathlib.Path(__file__).with_name("checkpoint")
WRAPPED = FOLDER.with_name("wrapped")


class Evil:
    """What a hostile file does: a call of its choice when it is loaded."""

    def __reduce__(self):
        return print, ("executed",)


def count_up(*shape):
    return torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


def main():
    FOLDER.mkdir(exist_ok=True)
    net = torch.nn.Sequential()
    net.conv1 = torch.nn.Conv2d(2, 3, 3, bias=False)
    net.bn1 = torch.nn.BatchNorm2d(3)
    net.fc = torch.nn.Linear(3, 2)
    net.conv1.weight.data = count_up(3, 2, 3, 3).contiguous(memory_format=torch.channels_last)
    net.fc.weight.data = count_up(4, 3)[::2]
    net.fc.bias.data = count_up(2)
    state = net.state_dict()
    torch.save(state, FOLDER / "zip.pth")
    torch.save(state, FOLDER / "older.pth", _use_new_zipfile_serialization=False)
    checkpoint = {"epoch": 3, "loss": 0.25, "state_dict": state, "callbacks": {"a": (None, True, [2**40, -1])}}
    torch.save(checkpoint, FOLDER / "training.pth")
    torch.save({name: tensor.bfloat16() for name, tensor in state.items()}, FOLDER / "bf16.pth")
    torch.save({"fc.bias": net.fc.bias, "evil": Evil()}, FOLDER / "evil.pth")
    torch.save(net, FOLDER / "network.pth")
    with (FOLDER / "plain.pkl").open("wb") as file:
        pickle.dump({"fc.bias": [0.0, 1.0]}, file)
    wrapped()


def cnn():
    """A `cnn` of width 2 for images of one channel, under the names that flow's has."""
    net = torch.nn.Sequential()
    for number, (channels, width) in enumerate([(1, 2), (2, 4), (4, 8)], 1):
        net.add_module(f"conv{number}", torch.nn.Conv2d(channels, width, 3, padding=1, bias=False))
        net.add_module(f"bn{number}", torch.nn.BatchNorm2d(width))
        net.add_module(f"relu{number}", torch.nn.ReLU())
    net.pool = torch.nn.AdaptiveAvgPool2d(1)
    net.flat = torch.nn.Flatten()
    net.fc = torch.nn.Linear(8, 3)
    for tensor in net.parameters():
        tensor.data = count_up(*tensor.shape)
    return net


def wrapped():
    WRAPPED.mkdir(exist_ok=True)
    net = cnn()
    torch.save(net.state_dict(), WRAPPED / "cnn.pth")
    # As PyTorch's ImageNet example of its first years: DataParallel, an optimiser with state, the older form.
    optimiser = torch.optim.SGD([net.fc.bias], lr=0.0, momentum=0.9)
    net.fc.bias.grad = torch.ones(3)
    optimiser.step()
    checkpoint = {
        "epoch": 90,
        "arch": "cnn",
        "state_dict": torch.nn.DataParallel(net).state_dict(),
        "best_prec1": torch.tensor(69.75),
        "optimizer": optimiser.state_dict(),
    }
    torch.save(checkpoint, WRAPPED / "data_parallel.pth", _use_new_zipfile_serialization=False)
    # The older form again, with a pickle of another protocol, and values of all sorts beside.
    checkpoint = {
        "model_state_dict": net.state_dict(),
        "args": argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("/data")),
        "classes": {"a", "b"},
        "rng": b"\x00\x01",
        "steps": 2**70,
        "complex": torch.ones(2, dtype=torch.complex64),
    }
    torch.save(checkpoint, WRAPPED / "protocol4.pth", pickle_protocol=4, _use_new_zipfile_serialization=False)
    # As Lightning: the module's network under an attribute, other tensors beside it.
    module = torch.nn.Module()
    module.model = net
    module.loss = torch.nn.CrossEntropyLoss(weight=torch.ones(3))
    checkpoint = {
        "epoch": 3,
        "global_step": 120,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": module.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}}},
        "hyper_parameters": {"lr": 0.1},
    }
    torch.save(checkpoint, WRAPPED / "lightning.ckpt")
    # Compiled, then data-parallel.
    torch.save({"model": torch.nn.DataParallel(torch.compile(net)).state_dict()}, WRAPPED / "compiled.pth")
    # A student and a teacher: which is meant?
    pair = torch.nn.Module()
    pair.student, pair.teacher = net, cnn()
    torch.save(pair.state_dict(), WRAPPED / "twice.pth")
    module = torch.nn.Module()
    module.backbone = net
    torch.save(module.state_dict(), WRAPPED / "backbone.pth")


if __name__ == "__main__":
    main()
