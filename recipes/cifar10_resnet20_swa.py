"""ResNet-20 on CIFAR-10, gone on with at a small constant rate, and averaged.

From the weights of `cifar10_resnet20.py`, which has to be run first. The mean of the weights at
the ends of a few epochs lies nearer to the middle of the valley than each (izmailov2018averaging).
"""

from pathlib import Path

from recording import options, reproduce

if __name__ == "__main__":
    reproduce(
        "cifar10_resnet20_swa",
        source="cifar10",
        valid=0.04,
        model="ResNet20()",
        weights=Path(options().runs) / "cifar10_resnet20",
        optimizer="SGD(lr=0.01, momentum=0.9, weight_decay=0.0005, nesterov=True)",
        schedule="Constant()",
        average="SWA(start=0)",
        augment="Flip(), Crop(padding=4)",
        epochs=6,
        batch_size=128,
        precision="bf16",
        channels_last=True,
        seed=0,
        checkpoint_seconds=60,
    )
