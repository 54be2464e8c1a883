"""A small network of every kind that a recipe can name, in its variants.

A key is the kind, followed by ": " and what is special about the variant, if anything.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from ssl_bio.models.attention import AttentionBackbone
from ssl_bio.models.base import Backbone, SignalNetwork
from ssl_bio.models.convnet import ConvBackbone
from ssl_bio.models.diffusion import Diffusion
from ssl_bio.models.dilated import DilatedBackbone
from ssl_bio.models.lstm import LSTMBackbone
from ssl_bio.models.timemae import TimeMAEBackbone
from ssl_bio.models.vqvae import VQVAEBackbone
from ssl_bio.models.wave_unet import PixelShuffle, WaveUNet

_TIMEMAE = {"d_model": 16, "n_layers": 2, "n_heads": 2, "wave_length": 8, "dropout": 0.1}
_VQVAE = {"d_model": 16, "width": 8, "n_layers": 2, "wave_length": 8, "s4d": {"d_state": 8, "bidirectional": True}}
_ATTENTION = {"d_model": 16, "n_layers": 2, "n_heads": 2, "dropout": 0.1}
_UNET = {"width": 4, "n_layers": 2, "stride": 2, "n_heads": 2}


class BackboneSetting(NamedTuple):
    """How to build a backbone: its class, other arguments than the shape of its input, that shape and its scaling."""

    network: type[Backbone]
    architecture: Mapping[str, Any]
    n_channels: int = 3
    length: int = 64
    normalize: str = "none"

    def build(self, seed: int = 0, **changes: Any) -> Backbone:
        """Return it with random weights."""
        torch.manual_seed(seed)
        shape = {"n_channels": self.n_channels, "length": self.length, "normalize": self.normalize}
        return self.network(**{**shape, **self.architecture, **changes})


class SignalNetworkSetting(NamedTuple):
    """How to build a network of signals."""

    network: type[SignalNetwork]
    architecture: Mapping[str, Any]
    n_channels: int = 2

    def build(self, seed: int = 0, **changes: Any) -> SignalNetwork:
        """Return it with random weights."""
        torch.manual_seed(seed)
        shape = {"n_channels": self.n_channels, "length": 0, "normalize": "none"}
        return self.network(**{**shape, **self.architecture, **changes})


BACKBONES: dict[str, BackboneSetting] = {
    "timemae": BackboneSetting(TimeMAEBackbone, _TIMEMAE),
    "timemae: convolutional stem, pre-norm": BackboneSetting(
        TimeMAEBackbone, {**_TIMEMAE, "stem": "conv", "encoder": "pre-norm"}, normalize="channel+window"
    ),
    "timemae: bert": BackboneSetting(TimeMAEBackbone, {**_TIMEMAE, "encoder": "bert"}),
    "timemae: padded": BackboneSetting(TimeMAEBackbone, _TIMEMAE, length=61),
    "convnet": BackboneSetting(ConvBackbone, {"d_model": 32, "wave_length": 8}, normalize="channel"),
    "convnet: scaled by window": BackboneSetting(ConvBackbone, {"d_model": 32, "wave_length": 4}, normalize="window"),
    "dilated": BackboneSetting(
        DilatedBackbone, {"d_model": 8, "n_layers": 3, "wave_length": 2, "dropout": 0.1}, normalize="channel"
    ),
    "vqvae": BackboneSetting(VQVAEBackbone, {**_VQVAE, "dropout": 0.1}, normalize="channel"),
    "vqvae: linear bridge, stride": BackboneSetting(VQVAEBackbone, {**_VQVAE, "bridge": "linear", "stride": 2}),
    "lstm": BackboneSetting(LSTMBackbone, {"d_model": 8, "n_layers": 2, "dropout": 0.1}, n_channels=1, length=12),
    "attention": BackboneSetting(AttentionBackbone, _ATTENTION, n_channels=1, length=12),
    "attention: random positions, norms": BackboneSetting(
        AttentionBackbone,
        {**_ATTENTION, "positions": "random", "norm_query": True, "norm_input": False},
        n_channels=1,
        length=12,
    ),
    "attention: sinusoidal positions, codes": BackboneSetting(
        AttentionBackbone,
        {
            **_ATTENTION,
            "positions": "sinusoidal",
            "values": "vq",
            "quantizer": {"codebook_size": 8, "kmeans_init": False},
        },
        n_channels=1,
        length=12,
    ),
    "attention: not causal": BackboneSetting(
        AttentionBackbone, {**_ATTENTION, "causal": False, "positions": "none"}, n_channels=1, length=12
    ),
}

SIGNAL_NETWORKS: dict[str, SignalNetworkSetting] = {
    "wave_unet": SignalNetworkSetting(WaveUNet, _UNET),
    "wave_unet: one level": SignalNetworkSetting(WaveUNet, {**_UNET, "n_layers": 1, "stride": 1}),
    "wave_unet: transformer": SignalNetworkSetting(WaveUNet, {**_UNET, "stride": 1, "bottleneck_layers": 2}),
    "pixel_shuffle": SignalNetworkSetting(PixelShuffle, _UNET),
    "pixel_shuffle: transformer": SignalNetworkSetting(PixelShuffle, {**_UNET, "stride": 1, "bottleneck_layers": 1}),
    "diffusion": SignalNetworkSetting(Diffusion, {**_UNET, "n_layers": 1, "stride": 1, "sampling_steps": 2}),
}
