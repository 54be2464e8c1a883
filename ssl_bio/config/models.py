"""The section `[model]`: one class a backbone. Their keys are arguments of the network of the same kind."""

from typing import ClassVar, Literal

from ssl_bio.config.data import QuantizerConfig
from ssl_bio.config.section import Count, CountOrNone, DropoutRate, NonNegative, Positive, Section, key

Output = Literal["tokens", "sequence", "signals"]


class BackboneConfig(Section):
    """What every backbone has.

    `output`: "tokens", each of several samples; "sequence", one token a sample of a single channel; "signals", as
    networks give that denoise. `default_pretext`: what it is pretrained with unless the recipe says otherwise.
    """

    output: ClassVar[Output] = "tokens"
    default_pretext: ClassVar[str] = "timemae"
    learns_positions: ClassVar[bool] = False  # so that it takes windows no longer than those it was pretrained on

    kind: str
    window: NonNegative = key(
        0, "what the network sees at once: longer windows are cropped; 0: all, or what the checkpoint saw", unit="s"
    )

    @property
    def samples_per_token(self) -> int:
        """Return how many samples a token stands for."""
        return 1

    @property
    def sees_whole_window(self) -> bool:
        """Return whether what the network says of a sample depends on later samples of its window."""
        return True

    def architecture(self, *, weights_follow: bool = False) -> dict[str, object]:
        """Return the arguments of the network's constructor.

        `weights_follow`: a checkpoint's weights come next, so weights from elsewhere need not be there any more.
        """
        return self.model_dump(exclude=set(BackboneConfig.model_fields))


class TokenConfig(BackboneConfig):
    """Networks whose tokens stand for `wave_length` samples each."""

    d_model: Count = key(64, "width of a token", architecture=True)
    wave_length: Count = key(8, "what a token stands for", unit="samples", architecture=True)

    @property
    def samples_per_token(self) -> int:
        """Return how many samples a token stands for."""
        return self.wave_length


class TimeMAEConfig(TokenConfig):
    """TimeMAE's transformer over patches of samples (Cheng et al. 2023)."""

    learns_positions: ClassVar[bool] = True

    kind: Literal["timemae"] = key("timemae", "the backbone", architecture=True)
    n_layers: Count = key(8, "transformer layers", architecture=True)
    n_heads: Count = key(4, "attention heads", architecture=True)
    stem: Literal["patch", "conv"] = key(
        "patch", "how samples become tokens: one linear map of each patch, or a residual net", architecture=True
    )
    encoder: Literal["timemae", "pre-norm", "bert"] = key(
        "timemae",
        "the paper's post-norm layers with learnt scales, the usual pre-norm ones, or BERT",
        architecture=True,
    )
    bert_weights: str = key(
        "", 'of encoder "bert": a local folder in safetensors that `transformers` reads; empty: random weights'
    )
    dropout: DropoutRate = key(0.2, "share of activations that training drops")

    def architecture(self, *, weights_follow: bool = False) -> dict[str, object]:
        """Return the arguments of the network's constructor."""
        found = super().architecture(weights_follow=weights_follow)
        return {**found, "bert_weights": ""} if weights_follow else found


class ConvNetConfig(TokenConfig):
    """A residual convolution net."""

    kind: Literal["convnet"] = key("convnet", "the backbone", architecture=True)
    wave_length: Count = key(8, "what a token stands for, a power of two", unit="samples", architecture=True)


class DilatedConfig(TokenConfig):
    """Dilated convolutions, each layer looking twice as far as the one before."""

    kind: Literal["dilated"] = key("dilated", "the backbone", architecture=True)
    n_layers: Count = key(8, "blocks; a token sees 2 ** n_layers + 1 tokens on either side", architecture=True)
    dropout: DropoutRate = key(0.2, "share of activations that training drops")


class S4DConfig(Section):
    """The state spaces of "vqvae" (Gu et al. 2022)."""

    d_state: int = key(64, "states of each channel, an even number", architecture=True)
    init: Literal["lin", "inv"] = key("lin", "where poles start: S4D-Lin or S4D-Inv")
    discretisation: Literal["zoh", "bilinear"] = key("zoh", "zero-order hold or bilinear", architecture=True)
    bidirectional: bool = key(True, "a second kernel runs backwards in time", architecture=True)
    lr: Positive = key(1e-3, "learning rate of poles and steps, whatever the others are; they never decay")


class VQVAEConfig(TokenConfig):
    """The S4D encoder of a vector-quantised autoencoder."""

    default_pretext: ClassVar[str] = "vqvae"

    kind: Literal["vqvae"] = key("vqvae", "the backbone", architecture=True)
    width: Count = key(32, "channels of the S4D blocks", architecture=True)
    n_layers: Count = key(8, "S4D blocks of the encoder, and of the decoder", architecture=True)
    stride: Count = key(1, "what a step of the S4D blocks stands for", unit="samples", architecture=True)
    bridge: Literal["conv1d", "linear", "mlp"] = key("conv1d", "between S4D blocks and tokens", architecture=True)
    batch_norm: bool = key(True, "in the bridge", architecture=True)
    dropout: DropoutRate = key(0.2, "share of activations that training drops")
    s4d: S4DConfig = S4DConfig()


class SequenceConfig(BackboneConfig):
    """Networks that read a series sample by sample."""

    output: ClassVar[Output] = "sequence"

    d_model: Count = key(64, "width of the state", architecture=True)
    n_layers: Count = key(8, "layers", architecture=True)
    dropout: DropoutRate = key(0.2, "share of activations that training drops")


class LSTMConfig(SequenceConfig):
    """Long short-term memory (Hochreiter and Schmidhuber 1997)."""

    kind: Literal["lstm"] = key("lstm", "the backbone", architecture=True)

    @property
    def sees_whole_window(self) -> bool:
        """Return False: it reads forwards."""
        return False


class AttentionConfig(SequenceConfig):
    """A transformer that looks back over `finetune.time_steps` samples."""

    kind: Literal["attention"] = key("attention", "the backbone", architecture=True)
    n_heads: Count = key(4, "attention heads", architecture=True)
    causal: bool = key(
        True, "no sample sees later ones; without, each sees its whole window and every forecast reads it anew"
    )
    positions: Literal["none", "sinusoidal", "random", "rotary"] = key("rotary", "how a sample's place is told")
    norm_input: bool = key(True, "layer normalisation before attention")
    norm_query: bool = key(False, "layer normalisation of queries")
    norm_key: bool = key(True, "layer normalisation of keys")
    values: Literal["plain", "vq"] = key("plain", '"vq": attention gathers codes of [model.quantizer]')
    quantizer: QuantizerConfig = QuantizerConfig()

    @property
    def sees_whole_window(self) -> bool:
        """Return whether there is no causal mask."""
        return not self.causal


class SignalNetworkConfig(BackboneConfig):
    """Networks from noisy signals to clean ones, `n_layers` levels deep."""

    output: ClassVar[Output] = "signals"
    default_pretext: ClassVar[str] = "reconstruction"

    width: Count = key(32, "channels that every level adds", architecture=True)
    n_layers: Count = key(8, "levels, each at half the rate of the one above", architecture=True)
    stride: Count = key(1, "what a step of the first level stands for", unit="samples", architecture=True)
    bottleneck_layers: CountOrNone = key(0, "transformer layers at the deepest level", architecture=True)
    n_heads: Count = key(4, "attention heads of those", architecture=True)
    dropout: DropoutRate = key(0.2, "share of activations that training drops, in the bottleneck")


class WaveUNetConfig(SignalNetworkConfig):
    """Wave-U-Net (Stoller et al. 2018)."""

    kind: Literal["wave_unet"] = key("wave_unet", "the network", architecture=True)


class PixelShuffleConfig(SignalNetworkConfig):
    """An autoencoder whose rate changes by pixel shuffle (Shi et al. 2016)."""

    kind: Literal["pixel_shuffle"] = key("pixel_shuffle", "the network", architecture=True)


class DiffusionConfig(SignalNetworkConfig):
    """A conditional diffusion denoiser (Ho et al. 2020)."""

    kind: Literal["diffusion"] = key("diffusion", "the network", architecture=True)
    sampling_steps: Count = key(8, "denoising steps of one answer")
