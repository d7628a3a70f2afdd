"""Layers and architectures: plain PyTorch modules that work without the rest of fitwell.

`MODELS` holds the architectures that a spec such as ``"MLP(hidden=(256, 128))"`` can name.
"""

from collections.abc import Callable

from torch import nn as _nn

from ._backprop import BACKPROP_RULES as BACKPROP_RULES
from ._backprop import backpropagate as backpropagate
from ._cnn import CNN as CNN
from ._cnn import ChannelsLast as ChannelsLast
from ._cnn import conv_norm_relu as conv_norm_relu
from ._cosine import CosineLinear as CosineLinear
from ._dropouts import DropBlock2d as DropBlock2d
from ._dropouts import DropConnect as DropConnect
from ._dropouts import GaussianDropout as GaussianDropout
from ._dropouts import StochasticDepth as StochasticDepth
from ._geometry import ReceptiveField as ReceptiveField
from ._geometry import conv_output_size as conv_output_size
from ._geometry import count_parameters as count_parameters
from ._geometry import gradient_support as gradient_support
from ._geometry import receptive_field as receptive_field
from ._lenet import LeNet5 as LeNet5
from ._local import LocallyConnected2d as LocallyConnected2d
from ._mlp import MLP as MLP
from ._mlp import Linear as Linear
from ._mobilenet import MobileNet as MobileNet
from ._mobilenet import separable_conv as separable_conv
from ._norm_choice import NORMS as NORMS
from ._norm_choice import make_norm as make_norm
from ._norms import BatchRenorm as BatchRenorm
from ._norms import GhostBatchNorm as GhostBatchNorm
from ._norms import LpBatchNorm as LpBatchNorm
from ._norms import NoisyBatchNorm as NoisyBatchNorm
from ._perceptron import Perceptron as Perceptron
from ._perceptron import fit_perceptron as fit_perceptron
from ._preprocess import Normalize as Normalize
from ._preprocess import TableEncoder as TableEncoder
from ._preprocess import Unscale as Unscale
from ._preprocess import embedding_dim as embedding_dim
from ._resnet import CifarResNet as CifarResNet
from ._resnet import ResNet18 as ResNet18
from ._resnet import he_init as he_init
from ._resnet_depths import ResNet20 as ResNet20
from ._resnet_depths import ResNet32 as ResNet32
from ._resnet_depths import ResNet44 as ResNet44
from ._resnet_depths import ResNet56 as ResNet56
from ._resnet_depths import ResNet110 as ResNet110
from ._shapes import check_cat as check_cat
from ._shapes import check_input as check_input
from ._shapes import shares_memory as shares_memory
from ._spatial_transformer import SpatialTransformer as SpatialTransformer
from ._text_cnn import TextCNN as TextCNN
from ._weight_norms import conv_operator_norm as conv_operator_norm
from ._weight_norms import weight_norm_init_ as weight_norm_init_

MODELS: dict[str, Callable[..., _nn.Module]] = {
    "CNN": CNN,
    "CifarResNet": CifarResNet,
    "LeNet5": LeNet5,
    "Linear": Linear,
    "MLP": MLP,
    "MobileNet": MobileNet,
    "ResNet18": ResNet18,
    "ResNet20": ResNet20,
    "ResNet32": ResNet32,
    "ResNet44": ResNet44,
    "ResNet56": ResNet56,
    "ResNet110": ResNet110,
}
