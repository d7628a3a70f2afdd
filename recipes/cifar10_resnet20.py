"""ResNet-20 on CIFAR-10 (he2016deep, section 4.2): 100 epochs of a one-cycle rate, not 164.

Where only the JPEG copy of the images is at hand, the run says so in its data card.
"""

from recording import record_views, reproduce

if __name__ == "__main__":
    run = reproduce(
        "cifar10_resnet20",
        source="cifar10",
        model="ResNet20()",
        valid=0.04,
        optimizer="SGD(lr=0.3, momentum=0.9, weight_decay=0.0005, nesterov=True)",
        schedule="OneCycle(rise=0.2)",
        augment="Flip(), Crop(padding=4)",
        batch_size=128,
        epochs=100,
        precision="bf16",
        channels_last=True,
        checkpoint_seconds=60,
        seed=0,
    )
    mirrored = {"views": 1, "augment": "Flip(p=1.0)", "plain_weight": 0.5}
    record_views(run, "cifar10_resnet20 and its mirror image", **mirrored)
