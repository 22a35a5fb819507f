"""Train from scratch the classifier whose features are the scale for MNIST, and record how good it is.

    python benchmarks/mnist_convnet.py --out retrained/mnist_convnet.safetensors

Without --out it replaces the weights in the package and benchmarks/results/mnist_convnet.json. That makes a new
scale: the package then refuses the file until its hash, which is printed, is WEIGHTS_SHA256 in
lightning_gans/metrics/features/mnist_convnet.py, and no score measured before compares with one measured after.

The seed is fixed, but retrained weights are not promised to be bitwise equal on another machine, number of threads
or version of torch: sums of floats are rounded in another order. What defines the scale is the shipped file,
identified by its hash; retraining shows that a network like it can be had by anyone.

It is trained on all 60,000 training images with the plain cross-entropy, so that its probabilities are meant as
probabilities: smoothed labels would lower every Inception score. The 10,000 test images are looked at once, after
training. To try something else, hold out the end of the training images with --validation: then they are measured
instead, and nothing is written.
"""

import argparse
import json
import os
import platform
import time
from hashlib import sha256
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lightning_gans import __version__
from lightning_gans.data import MNIST
from lightning_gans.files import atomic_path
from lightning_gans.metrics.features.mnist_convnet import WEIGHTS, WEIGHTS_SHA256, DigitNetwork

RECORD = Path(__file__).parent / "results" / "mnist_convnet.json"
BATCH, LEARNING_RATE, WEIGHT_DECAY = 128, 4e-3, 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="the file to write; the record then goes beside it, as .json")
    parser.add_argument("--data", default=os.environ.get("LIGHTNING_GANS_DATA", "data"), help="folder of MNIST")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--validation", type=int, default=0, help="training images to hold out, and to measure on")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    data = MNIST(root=options.data, validation_size=options.validation or 5000)
    parts = [data.split("train"), data.split("validation")]
    images, labels = (torch.cat(values) for values in zip(*((p.images, p.labels) for p in parts), strict=True))
    if options.validation:
        held_out = images[-options.validation :], labels[-options.validation :]
        images, labels = images[: -options.validation], labels[: -options.validation]

    started = time.perf_counter()
    network = train(scale(images), labels, options.epochs, options.seed)
    seconds = time.perf_counter() - started
    if options.validation:
        print(f"{len(labels)} images, {seconds:.0f} s, validation: {measure(network, *held_out)}")
        return
    quality = measure(network, data.split("test").images, data.split("test").labels)
    write(options, network, quality, seconds)


def scale(images: Tensor) -> Tensor:
    return images.float() / 255


def train(images: Tensor, labels: Tensor, epochs: int, seed: int) -> DigitNetwork:
    """Train with batch normalisation, then fold it away and standardise the features."""
    torch.manual_seed(seed)
    network = DigitNetwork()
    network.trunk = with_batch_norm(network.trunk)
    network.to(memory_format=torch.channels_last)
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    for epoch in range(epochs):
        started, total = time.perf_counter(), 0.0
        for rows in torch.randperm(len(images)).split(BATCH):
            if len(rows) < BATCH:
                continue
            loss = F.cross_entropy(network(distort(images[rows])).logits, labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        mean, seconds = total / (len(images) // BATCH), time.perf_counter() - started
        print(f"epoch {epoch + 1}: loss {mean:.4f}, {seconds:.0f} s", flush=True)
    return finish(network, images)


def with_batch_norm(trunk: nn.Sequential) -> nn.Sequential:
    """The same layers with a batch norm after each that has weights; the last one, on the features, only scales."""
    layers: list[nn.Module] = []
    for layer in trunk:
        layers.append(layer)
        if isinstance(layer, nn.Conv2d):
            layers.append(nn.BatchNorm2d(layer.out_channels))
        elif isinstance(layer, nn.Linear):
            layers.append(nn.BatchNorm1d(layer.out_features, affine=False))
    return nn.Sequential(*layers)


def distort(images: Tensor) -> Tensor:
    """Rotate, shear, scale and shift each image a little, at random."""
    n = len(images)
    angle, shear = (spread * torch.randn(n) for spread in (0.12, 0.1))
    width, height = (1 + 0.08 * torch.randn(n) for _ in range(2))
    dx, dy = (0.06 * torch.randn(n) for _ in range(2))  # in half widths of the image: 0.06 is 0.84 pixels
    rows = [angle.cos() * width, shear - angle.sin(), dx, angle.sin(), angle.cos() * height, dy]
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


@torch.no_grad()
def finish(network: DigitNetwork, images: Tensor) -> DigitNetwork:
    """Take the statistics of undistorted images, fold them into the weights, and make the features' exact."""
    for layer in network.trunk:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches
    network.train()
    for batch in images.split(1000):
        network(batch)
    network.eval()

    folded: list[nn.Module] = []
    for layer in network.trunk:
        if isinstance(layer, nn.BatchNorm2d):
            folded[-1] = fuse_conv_bn_eval(folded[-1], layer)
        elif not isinstance(layer, nn.BatchNorm1d):  # in its place, the exact mean and deviation below
            folded.append(layer)
    network.trunk = nn.Sequential(*folded)

    features = torch.cat([network(batch).features for batch in images.split(1000)]).double()
    mean, deviation = features.mean(0), features.std(0, correction=0)
    last = network.trunk[-1]
    last.weight.div_(deviation[:, None])
    last.bias.sub_(mean).div_(deviation)
    return network


@torch.no_grad()
def measure(network: DigitNetwork, images: Tensor, labels: Tensor) -> dict[str, object]:
    right = torch.cat([network(scale(batch)).logits.argmax(1) for batch in images.split(1000)]) == labels
    return {
        "accuracy": right.double().mean().item(),
        "errors": int((~right).sum()),
        "accuracy_per_class": {str(k): round(right[labels == k].double().mean().item(), 5) for k in range(10)},
    }


def write(options: argparse.Namespace, network: DigitNetwork, quality: dict[str, object], seconds: float) -> None:
    command = "python benchmarks/mnist_convnet.py"
    command += f" --epochs {options.epochs} --seed {options.seed} --threads {options.threads}"
    about = {
        "test_accuracy": quality["accuracy"],
        "command": command,
        "version": __version__,
        "torch": torch.__version__,
        "data": "MNIST, 60,000 training images",
    }
    weights, record = (options.out, options.out.with_suffix(".json")) if options.out else (WEIGHTS, RECORD)
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    content = save(tensors, {"about": json.dumps(about)})  # one key: safetensors keeps no order of several
    with atomic_path(weights) as temporary:
        temporary.write_bytes(content)
    checksum = sha256(content).hexdigest()
    result = {
        "test": quality,
        "sha256": checksum,
        "bytes": len(content),
        "parameters": sum(value.numel() for value in network.parameters()),
        "epochs": options.epochs,
        "seconds": round(seconds, 1),
        "command": command,
        "version": __version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} threads",
    }
    with atomic_path(record) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{quality['accuracy']:.2%} of the test images, SHA-256 {checksum}; wrote {weights} and {record}")
    if not options.out and checksum != WEIGHTS_SHA256:
        print("This is a new scale: set WEIGHTS_SHA256 in lightning_gans/metrics/features/mnist_convnet.py.")


if __name__ == "__main__":
    main()
