"""Writes the other files of this folder.

pytorch.json: what PyTorch computes from the weights and images that the tests make too. weights.safetensors and weights.pth: a
small network's state dict.

    pip install torch==2.13.0 torchvision safetensors && python pytorch.py

Weights and images come from a formula on integers, so that both sides have them to the bit without a file of 45 MB.
"""

import json
import math
import pathlib

import numpy
import safetensors.torch
import torch
import torchvision

STEPS = 20


def values(name, shape):
    """Numbers in [-0.5, 0.5) that depend on the name and the index alone."""
    start = 0
    for byte in name.encode():
        start = (start * 31 + byte) % 2**32
    x = (numpy.arange(math.prod(shape), dtype=numpy.uint64) + numpy.uint64(start)) & numpy.uint64(0xFFFFFFFF)
    for _ in range(2):
        x = (x ^ (x >> numpy.uint64(16))) * numpy.uint64(0x45D9F3B) & numpy.uint64(0xFFFFFFFF)
    x = x ^ (x >> numpy.uint64(16))
    return torch.from_numpy((x.astype(numpy.float64) / 2**32 - 0.5).astype(numpy.float32)).reshape(shape)


def weights(name, shape):
    """A network's tensor: convolutions and linear layers scaled by fan-in, batch norms near the identity."""
    drawn = values(name, shape)
    if len(shape) > 1:
        return drawn * numpy.float32(math.sqrt(12.0 / math.prod(shape[1:])))
    if name.endswith("running_var") or ("bn" in name or "downsample" in name) and name.endswith("weight"):
        return drawn * numpy.float32(0.25) + 1
    return drawn * numpy.float32(0.25)


def resnet18():
    """The network for small images, with weights from the formula."""
    net = torchvision.models.resnet18(num_classes=5)
    net.conv1 = torch.nn.Conv2d(3, 64, 3, stride=1, padding=1, bias=False)
    net.maxpool = torch.nn.Identity()
    state = {name: tensor for name, tensor in net.state_dict().items() if not name.endswith("num_batches_tracked")}
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    net.load_state_dict({name: weights(name, shape) for name, shape in shapes.items()}, strict=False)
    return net, shapes


def train(images, labels, dtype, lr, weight_decay):
    """The learning rate and the loss of each of 20 steps."""
    net = resnet18()[0].to(dtype)
    net.train()
    optimiser = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=10, eta_min=1e-6)
    losses, rates = [], []
    for step in range(STEPS):
        rates.append(optimiser.param_groups[0]["lr"])
        loss = torch.nn.functional.cross_entropy(net(images(step).to(dtype)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return {"rates": rates, "losses": losses}


def noise(step):
    """Eight images in which there is nothing to learn."""
    return 4 * values(f"images {step}", [8, 3, 16, 16])


def learnable(step):
    """Sixteen images that are one of five, under noise."""
    return values(f"images {step}", [16, 3, 16, 16]) + 2 * values("prototypes", [5, 3, 16, 16])[torch.arange(16) % 5]


def main():
    torch.set_num_threads(1)
    net, shapes = resnet18()
    net.eval()
    with torch.no_grad():
        logits = net(noise(0))

    # Where there is nothing to learn, training doubles any difference every other step: in f32 PyTorch on one thread and
    # PyTorch on two are 1e-4 apart after 20 steps. In f64 they are not.
    on_noise = lambda dtype: train(noise, torch.arange(8) % 5, dtype, 1e-4, 0.1)
    on_learnable = lambda dtype: train(learnable, torch.arange(16) % 5, dtype, 0.01, 5e-4)
    versions = {module.__name__: module.__version__.split("+")[0] for module in (torch, torchvision, numpy)}
    reference = {
        "versions": versions,
        "shapes": shapes,
        "logits": logits.tolist(),
        "noise_f64": on_noise(torch.float64),
        "learnable_f32": on_learnable(torch.float32),
    }
    # How far PyTorch is from itself.
    distance = lambda a, b: max(abs(x - y) for x, y in zip(a["losses"], b["losses"]))
    print("learnable, f32 and f64:", distance(reference["learnable_f32"], on_learnable(torch.float64)))
    noise_f32 = on_noise(torch.float32)
    torch.set_num_threads(2)
    print("learnable, f32, one and two threads:", distance(reference["learnable_f32"], on_learnable(torch.float32)))
    print("noise, f64, one and two threads:", distance(reference["noise_f64"], on_noise(torch.float64)))
    print("noise, f32, one and two threads:", distance(noise_f32, on_noise(torch.float32)))
    text = json.dumps(reference, indent=1)
    pathlib.Path(__file__).with_name("pytorch.json").write_text(text + "\n")


def small():
    """The narrow ResNet of depth 8 and width 2, of torchvision's own blocks."""
    def block(inputs, outputs, stride):
        downsample = None
        if stride != 1:
            downsample = torch.nn.Sequential(
                torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False), torch.nn.BatchNorm2d(outputs)
            )
        return torch.nn.Sequential(torchvision.models.resnet.BasicBlock(inputs, outputs, stride, downsample))

    net = torch.nn.Module()
    net.conv1, net.bn1 = torch.nn.Conv2d(3, 2, 7, bias=False), torch.nn.BatchNorm2d(2)
    net.layer1, net.layer2, net.layer3 = block(2, 2, 1), block(2, 4, 2), block(4, 8, 2)
    net.fc = torch.nn.Linear(8, 10)
    state = net.state_dict()
    for name, tensor in state.items():
        if tensor.is_floating_point():
            tensor.copy_(weights(name, list(tensor.shape)))
    safetensors.torch.save_file(state, pathlib.Path(__file__).with_name("weights.safetensors"))
    torch.save(state, pathlib.Path(__file__).with_name("weights.pth"))


if __name__ == "__main__":
    main()
    small()
