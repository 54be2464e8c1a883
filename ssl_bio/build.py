"""The only place where a recipe becomes networks and tasks."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from ssl_bio import weights
from ssl_bio.checkpoint import Checkpoint, load
from ssl_bio.errors import CheckpointError, RecipeError
from ssl_bio.models.bert import bert_encoder
from ssl_bio.models.contrast import MaskedContrast
from ssl_bio.models.convnet import ConvBackbone, DilatedBackbone
from ssl_bio.models.denoiser import Denoiser, TokenDecoder
from ssl_bio.models.diffusion import Diffusion
from ssl_bio.models.forecaster import Forecaster, PatchForecaster, Scaling, StepForecaster, UnmaskedForecaster
from ssl_bio.models.heads import Backbone, Predictor, Unit
from ssl_bio.models.quantizer import Quantizer
from ssl_bio.models.readers import AttentionReader, LSTMReader
from ssl_bio.models.timemae import TimeMAE, TimeMAEBackbone
from ssl_bio.models.vqvae import VQVAE, Bridge, FrozenCodes, VQVAEBackbone
from ssl_bio.models.wave_unet import PixelShuffle, Shape, WaveUNet
from ssl_bio.outcome import OfWindow, Outcome, Series, Signal, Values
from ssl_bio.pretexts import ContrastTask, ReconstructTask, TimeMAETask, VQVAETask
from ssl_bio.recipe import complete
from ssl_bio.samples import Form
from ssl_bio.schema import Recipe
from ssl_bio.tasks import DenoiseTask, DownstreamTask, ForecastTask, Task

READERS = ("lstm", "attention")  # kinds that forecast and do nothing else
FORECASTERS = (*READERS, "timemae", "vqvae")
CLEANERS = ("wave_unet", "pixel_shuffle", "diffusion")  # kinds that denoise and do nothing else


def backbone(recipe: Recipe, n_channels: int, length: int, will_load: bool = False) -> nn.Module:
    """The recipe's backbone with random weights, drawn from torch's global generator.

    `will_load`: a checkpoint's weights come next, so a folder of BERT weights need not be there any more.
    """
    model, normalize = recipe.model, recipe.data.normalize
    try:
        if model.kind in READERS:
            return reader(recipe)
        if model.kind in CLEANERS:
            return cleaner(recipe, n_channels)
        if model.kind == "convnet":
            return ConvBackbone(n_channels, length, model.d_model, model.wave_length, normalize)
        if model.kind == "dilated":
            return DilatedBackbone(
                n_channels, length, model.d_model, model.n_layers, model.wave_length, model.dropout, normalize
            )
        if model.kind == "vqvae":
            return VQVAEBackbone(
                n_channels,
                length,
                model.d_model,
                model.width,
                model.n_layers,
                model.wave_length,
                Bridge(model.bridge, model.batch_norm),
                model.dropout,
                normalize,
                _state_space(recipe),
                model.stride,
            )
        encoder = None
        if model.encoder == "bert":
            encoder = bert_encoder(
                model.d_model, model.n_layers, model.n_heads, model.dropout, "" if will_load else model.bert_weights
            )
        return TimeMAEBackbone(
            n_channels,
            length,
            model.d_model,
            model.n_layers,
            model.n_heads,
            model.wave_length,
            model.dropout,
            model.stem,
            model.encoder,
            normalize,
            encoder,
        )
    except ValueError as error:
        raise RecipeError(f"model: {error}") from error


def reader(recipe: Recipe) -> nn.Module:
    """The recipe's reader of series."""
    model = recipe.model
    if model.kind == "lstm":
        return LSTMReader(model.d_model, model.n_layers, model.dropout)
    quantizers = []
    if model.values == "vq":
        quantizers = [Quantizer(model.d_model, **model.quantizer.model_dump()) for _ in range(model.n_layers)]
    return AttentionReader(
        model.d_model,
        model.n_layers,
        model.n_heads,
        model.time_steps,
        model.positions,
        model.norm_input,
        model.norm_query,
        model.norm_key,
        model.dropout,
        quantizers,
        model.causal,
    )


def cleaner(recipe: Recipe, n_channels: int) -> nn.Module:
    """The recipe's network from noisy signals to clean ones."""
    model = recipe.model
    shape = Shape(model.width, model.n_layers, model.stride, model.bottleneck_layers, model.n_heads, model.dropout)
    if model.kind == "diffusion":
        return Diffusion(n_channels, shape, model.sampling_steps)
    return (WaveUNet if model.kind == "wave_unet" else PixelShuffle)(n_channels, n_channels, shape)


def pretext_task(recipe: Recipe, module: nn.Module) -> Task:
    """The recipe's pretext task around a backbone.

    Raises RecipeError when they do not go together, and CheckpointError when the codewords' run is broken.
    """
    settings, model = recipe.pretrain, recipe.model
    if model.kind in CLEANERS and settings.pretext in ("auto", "reconstruct"):
        return ReconstructTask(Denoiser(module), settings.lr, settings.reconstruction)
    if isinstance(module, VQVAEBackbone) and settings.pretext in ("auto", "vqvae"):
        return VQVAETask(
            vqvae(recipe, module), settings.lr, settings.reconstruction, settings.input_noise, settings.input_mask
        )
    if not isinstance(module, TimeMAEBackbone) or settings.pretext in ("vqvae", "reconstruct"):
        raise RecipeError(
            f"model.kind {model.kind!r} and pretrain.pretext {settings.pretext!r} do not go together: 'timemae' has "
            f"'timemae' and 'contrast', 'vqvae' has 'vqvae', {', '.join(CLEANERS)} have 'reconstruct', the others none"
        )
    if module.n_tokens < 2:
        raise RecipeError(f"model.wave_length {model.wave_length} leaves {module.n_tokens} token: nothing to mask")
    if settings.pretext == "contrast":
        return ContrastTask(
            MaskedContrast(module), settings.lr, settings.mask_ratio, settings.momentum, settings.temperature
        )
    return TimeMAETask(
        TimeMAE(
            module, model.decoder_layers, model.n_heads, model.vocab_size, model.dropout, _codewords(recipe, module)
        ),
        settings.lr,
        settings.mask_ratio,
        settings.momentum,
        settings.alpha,
        settings.beta,
        settings.label_smoothing,
        settings.straight_through,
        settings.mask_per_sample,
    )


def vqvae(recipe: Recipe, module: VQVAEBackbone) -> VQVAE:
    """The autoencoder around a backbone: quantizer and decoder."""
    model = recipe.model

    def quantizer() -> Quantizer:
        return Quantizer(model.d_model, **model.quantizer.model_dump())

    try:
        return VQVAE(
            module,
            quantizer(),
            model.n_layers,
            Bridge(model.bridge, model.batch_norm),
            model.dropout,
            _state_space(recipe),
            model.coarse,
            quantizer() if model.coarse > 1 else None,
        )
    except ValueError as error:
        raise RecipeError(f"model.quantizer: {error}") from error


def trained_vqvae(checkpoint: Checkpoint) -> VQVAE:
    """The whole autoencoder of a pretraining run, in evaluation mode.

    Raises CheckpointError when the run is of another kind.
    """
    facts = checkpoint.facts
    plan = complete(facts.recipe, str(checkpoint.path))
    module = backbone(plan, len(facts.channels), facts.length, will_load=True)
    if facts.kind != "pretrain" or not isinstance(module, VQVAEBackbone):
        raise CheckpointError(f"{checkpoint.path}: not a VQ-VAE's pretraining run")
    whole = vqvae(plan, module)
    weights.load_into(whole, checkpoint)
    return whole.eval()


def _codewords(recipe: Recipe, module: TimeMAEBackbone) -> FrozenCodes | None:
    """The frozen VQ-VAE whose codes are TimeMAE's codewords, if the recipe names one."""
    if not recipe.model.codewords:
        return None
    checkpoint = load(Path(recipe.model.codewords))
    codes = FrozenCodes(trained_vqvae(checkpoint))
    theirs = codes.vqvae.backbone
    if (theirs.n_channels, theirs.wave_length) != (module.n_channels, module.wave_length):
        raise RecipeError(
            f"model.codewords {recipe.model.codewords}: its codes stand for {theirs.wave_length} samples of "
            f"{theirs.n_channels} channels, this model's tokens for {module.wave_length} of {module.n_channels}"
        )
    return codes


def _state_space(recipe: Recipe) -> dict[str, Any]:
    """Arguments of `S4D`."""
    settings = recipe.model.s4d
    return {**settings.model_dump(exclude={"lr"}), "state_space_lr": settings.lr}


def network(recipe: Recipe, module: nn.Module, outcome: Outcome, form: Form) -> Predictor | Forecaster | Denoiser:
    """A backbone with what makes it answer."""
    if isinstance(outcome, Signal):
        return denoiser(recipe, module, outcome, form)
    if isinstance(outcome, Series):
        return forecaster(recipe, module, outcome)
    return predictor(recipe, module, outcome, form)


def denoiser(recipe: Recipe, module: nn.Module, outcome: Signal, form: Form) -> Denoiser:
    """A network that denoises as it is, or a token backbone with a decoder."""
    if recipe.model.kind in CLEANERS:
        return Denoiser(module)
    if hasattr(module, "input_norm"):  # a denoiser sees signals that are standardised already
        n = len(outcome.names)
        module.input_norm.set_statistics(np.zeros(n, np.float32), np.ones(n, np.float32))  # type: ignore[operator, union-attr]
    width = int(cast(Backbone, module).layer_widths[-1])
    patch = -(-form.window // _fewest_tokens(module, form.window, all_layers=False))
    return Denoiser(module, TokenDecoder(width, len(outcome.names), patch), form.window)


def forecaster(recipe: Recipe, module: nn.Module, outcome: Series) -> Forecaster:
    """A reader or a backbone with what makes it forecast."""
    model, time_steps = recipe.model, outcome.time_steps
    scaling = Scaling(outcome.mean, outcome.std, model.scale_by == "history")
    if model.kind not in READERS:
        return PatchForecaster(module, time_steps, model.wave_length, scaling)
    return (StepForecaster if model.causal else UnmaskedForecaster)(module, time_steps, scaling)


def predictor(recipe: Recipe, module: nn.Module, outcome: OfWindow, form: Form) -> Predictor:
    """A backbone with the recipe's pooling and head, for one outcome."""
    settings = recipe.finetune
    unit = None
    if isinstance(outcome, Values) and outcome.error != "bins":
        unit = Unit(outcome.mean, outcome.std)
    fewest = _fewest_tokens(module, form.window, settings.layers == "all") if settings.parts > 1 else 1
    if settings.parts > 1 and settings.parts > fewest:
        raise RecipeError(
            f"finetune.parts {settings.parts}: the backbone gives {fewest} tokens to a window: fewer parts"
        )
    return Predictor(
        module,
        outcome.n_outputs,
        settings.pooling,
        settings.layers,
        settings.dropout,
        settings.head,
        settings.head_width,
        unit,
        form.window if form.window < form.length else 0,
        settings.parts,
    )


@torch.no_grad()
def _fewest_tokens(module: nn.Module, window: int, all_layers: bool) -> int:
    training = module.training
    backbone = cast(Backbone, module.eval())
    layers = backbone.layers(torch.zeros(1, backbone.n_channels, window))
    module.train(training)
    return min(int(tokens.shape[1]) for tokens in (layers if all_layers else layers[-1:]))


def downstream_task(recipe: Recipe, model: Predictor, outcome: OfWindow, frozen_features: bool) -> DownstreamTask:
    """The recipe's downstream task."""
    settings = recipe.finetune
    # Random weights have nothing to keep: they learn at the head's rate.
    backbone_lr = settings.lr if settings.mode == "scratch" else settings.backbone_lr
    return DownstreamTask(
        model,
        outcome,
        settings.lr,
        backbone_lr,
        settings.label_smoothing,
        settings.mixup,
        frozen_features,
        settings.layer_decay,
        settings.unfreeze_epochs,
        settings.dense,
    )


def forecast_task(recipe: Recipe, model: Forecaster, outcome: Series) -> ForecastTask:
    """The recipe's forecasting task."""
    settings = recipe.finetune
    backbone_lr = settings.lr if settings.mode == "scratch" else settings.backbone_lr
    return ForecastTask(
        model, outcome, settings.lr, backbone_lr, settings.dense, settings.input_noise, settings.feed_back
    )


def denoise_task(recipe: Recipe, model: Denoiser, outcome: Signal) -> DenoiseTask:
    """The recipe's denoising task."""
    settings = recipe.finetune
    backbone_lr = settings.lr if settings.mode == "scratch" else settings.backbone_lr
    return DenoiseTask(
        model,
        settings.lr,
        backbone_lr,
        outcome.error,
        outcome.peak_weight,
        recipe.noise.ramp_epochs,
        settings.peak_ramp_epochs,
    )
