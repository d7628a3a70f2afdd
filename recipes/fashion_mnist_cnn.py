"""The default recipe for images on Fashion-MNIST: nothing chosen but the data."""

from recording import reproduce

if __name__ == "__main__":
    reproduce("fashion_mnist_cnn", source="fashion_mnist", seed=0)
