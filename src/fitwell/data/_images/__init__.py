"""Folders of images."""

from ._form import ImageChannels as ImageChannels
from ._load import load_images as load_images
from ._load import read_images as read_images
from ._progress import DecodingProgress as DecodingProgress
