"""The section `[pretrain]`: one class a pretext task."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ssl_bio.config.data import QuantizerConfig
from ssl_bio.config.section import (
    Count,
    CountOrNone,
    NonNegative,
    OptimizationConfig,
    Positive,
    Share,
    broken_rule,
    key,
)

MaskRatio = Annotated[float, Field(gt=0, lt=1)]
Momentum = Annotated[float, Field(ge=0, le=1)]


class PretextConfig(OptimizationConfig):
    """What every pretext task has.

    `backbones`: kinds of [model] that it goes with; empty: all that give tokens. `tokenizer_key`: the key that may name
    a run whose codes are learnt; empty: there is none.
    """

    backbones: ClassVar[tuple[str, ...]] = ()
    tokenizer_key: ClassVar[str] = ""
    has_validation_loss: ClassVar[bool] = True

    pretext: str
    draw_channels: list[str] = key(
        [], "a training window shows one of these channels, at random, in place of data.channels"
    )
    fit_on: Literal["train", "train+val"] = key("train+val", "unlabelled windows to learn from; the test split never")
    probe_every: CountOrNone = key(0, "linear probe on validation every so many epochs; 0: never", unit="epochs")
    select: Literal["last", "probe", "val_loss"] = key("last", "which epoch's weights the run keeps")

    @model_validator(mode="after")
    def _selects_on_unseen_windows(self) -> Self:
        if self.select != "last" and self.fit_on != "train":
            raise broken_rule(
                f'pretrain.select "{self.select}" chooses by validation windows, which fit_on "train+val" learns from: '
                'set pretrain.fit_on to "train"'
            )
        if self.select == "val_loss" and not self.has_validation_loss:
            raise broken_rule(f'pretrain.select "val_loss": {self.pretext} has no loss of single windows; use "probe"')
        return self


class TimeMAEPretextConfig(PretextConfig):
    """Masked codeword classification and masked representation regression (Cheng et al. 2023)."""

    backbones: ClassVar[tuple[str, ...]] = ("timemae",)
    tokenizer_key: ClassVar[str] = "codewords"

    pretext: Literal["timemae"] = key("timemae", "the pretext task")
    mask_ratio: MaskRatio = key(0.6, "share of tokens that are hidden")
    mask_per_sample: bool = key(False, "a mask for each window; false: one a batch, as the official code")
    momentum: Momentum = key(0.99, "of the target encoder")
    alpha: NonNegative = key(5.0, "weight of masked representation regression")
    beta: NonNegative = key(1.0, "weight of masked codeword classification")
    label_smoothing: Share = key(0.2, "of the codewords")
    straight_through: bool = key(False, "let the codeword loss move the codewords it predicts")
    decoder_layers: Count = key(4, "cross-attention layers that predict hidden tokens")
    vocab_size: Annotated[int, Field(ge=2)] = key(192, "codewords of its own codebook")
    codewords: str = key(
        "",
        "VQ-VAE whose codes are the codewords, as in pretrain.tokenizer of joint_tokens; empty: its own codebook",
    )

    @model_validator(mode="after")
    def _has_one_codebook(self) -> Self:
        chosen = {"vocab_size": self.vocab_size != 192, "straight_through": self.straight_through}
        for name in (name for name, is_chosen in chosen.items() if is_chosen and self.codewords):
            raise broken_rule(f"pretrain.{name} would change nothing: pretrain.codewords has its own codebook")
        return self


class JointTokensConfig(PretextConfig):
    """Prediction of a tokenizer's codes from unmasked signals, perhaps from fewer channels than it reads (CM-SSL)."""

    tokenizer_key: ClassVar[str] = "tokenizer"

    pretext: Literal["joint_tokens"] = key("joint_tokens", "the pretext task")
    tokenizer: str = key(
        "",
        "VQ-VAE whose codes are predicted: a run folder, {seed} and {fold} in it stand for the recipe's; or a "
        "recipe's name, for its run with the same seed and part of a cross-validation",
    )
    label_smoothing: Share = key(0.0, "of the codes")


class ContrastConfig(PretextConfig):
    """Masked window contrast (He et al. 2020; Assran et al. 2022)."""

    backbones: ClassVar[tuple[str, ...]] = ("timemae",)
    has_validation_loss: ClassVar[bool] = False

    pretext: Literal["contrast"] = key("contrast", "the pretext task")
    mask_ratio: MaskRatio = key(0.6, "share of tokens that are hidden")
    momentum: Momentum = key(0.99, "of the momentum encoder")
    temperature: Positive = key(0.2, "of the contrast")
    neighbours: CountOrNone = key(0, "the other view is of a window up to so many rows away, of the same person")


class VQVAEPretextConfig(PretextConfig):
    """Reconstruction through a codebook (van den Oord et al. 2017)."""

    backbones: ClassVar[tuple[str, ...]] = ("vqvae", "timemae")

    pretext: Literal["vqvae"] = key("vqvae", "the pretext task")
    reconstruction: Literal["mse", "l1"] = key("mse", "error of the reconstruction")
    channel_weights: dict[str, NonNegative] = key({}, "weight of a channel in the mean error, by its name; of others 1")
    input_noise: NonNegative = key(0.0, "white noise on the input; the target is clean", unit="standard deviations")
    input_mask: Share = key(0.0, "share of the input that is blanked, in stretches of wave_length")
    coarse: Count = key(1, "above 1 the decoder is hierarchical, one coarse code for so many tokens")
    collapse_share: Share = key(0.5, "warn when validation uses a smaller share of the codes ...")
    collapse_epochs: Count = key(3, "... for so many epochs in a row", unit="epochs")
    quantizer: QuantizerConfig = QuantizerConfig()


class ReconstructionConfig(PretextConfig):
    """A denoiser gives back clean signals that it is shown."""

    backbones: ClassVar[tuple[str, ...]] = ("wave_unet", "pixel_shuffle", "diffusion")

    pretext: Literal["reconstruction"] = key("reconstruction", "the pretext task")
    reconstruction: Literal["mse", "l1"] = key("mse", "error of the reconstruction")
