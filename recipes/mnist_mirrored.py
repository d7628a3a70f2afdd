"""The small CNN of the distributed-training lecture on MNIST: two replicas, RMSprop at 1e-3.

Three layers of 3 x 3 filters, 32, 64 and 64 of them, 64 units, 10 classes; 10 epochs, 128 examples
per replica. Keras counts 93,322 parameters for it.
"""

import os

from torch import Tensor, nn


class LectureCNN(nn.Module):
    """Convolutions without padding, pooling after the first two, two dense layers."""

    def __init__(self, in_channels: int, out_features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(in_channels, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3 * 3 * 64, 64),
            nn.ReLU(),
            nn.Linear(64, out_features),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Give logits.

        Args:
            images: (B, C, 28, 28).
        """
        logits: Tensor = self.layers(images)
        return logits


if __name__ == "__main__":
    from recording import reproduce

    reproduce(
        "mnist_mirrored",
        source="mnist",
        model=f"{os.path.relpath(__file__)}:LectureCNN",
        optimizer="RMSprop(lr=0.001)",
        schedule="Constant()",
        augment="none",
        batch_size=128,
        workers=2,
        epochs=10,
        seed=0,
    )
