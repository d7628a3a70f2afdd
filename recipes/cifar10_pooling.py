"""Max pooling, mean pooling or a convolution with stride (springenberg2015striving) on CIFAR-10.

The same small CNN and the same few epochs; only what halves the images differs.
"""

from recording import reproduce

if __name__ == "__main__":
    for pool in ("max", "avg", "stride"):
        reproduce(
            f"cifar10_pooling_{pool}",
            source="cifar10",
            model=f"CNN(pool={pool!r})",
            valid=0.04,
            augment="Flip(), Crop(padding=4)",
            epochs=5,
            precision="bf16",
            seed=0,
        )
