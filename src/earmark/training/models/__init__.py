"""Networks: a picture of sound in, a logit for each label out.

`network` says what they have in common and how they pool, `resnet` and `mobile` are the networks, `weights` starts them
from what was learned before.
"""

from earmark.training.models.build import build_network
from earmark.training.models.mobile import MobileNet
from earmark.training.models.network import TaggingNetwork
from earmark.training.models.resnet import ResNet
from earmark.training.models.weights import initialise, load_weights, read_weights

__all__ = ["MobileNet", "ResNet", "TaggingNetwork", "build_network", "initialise", "load_weights", "read_weights"]
