"""Writes the checkpoints of this folder's `checkpoint/`, for the tests of `src/pickle/`.

    pip install torch==2.13.0 && python checkpoint.py

The first three files hold the state dict of a small network: a convolution in channels-last order, a batch norm and a
linear layer whose weights are every other row of a longer tensor. All values count up from 0 in a tensor's own order.
"""

import pathlib

import torch

FOLDER = pathlib.Path(__file__).with_name("checkpoint")


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


if __name__ == "__main__":
    main()
