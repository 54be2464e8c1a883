"""All kinds of backbones, pretext tasks, downstream tasks and baselines: a line each."""

from ssl_bio.config import models, pretexts, tasks
from ssl_bio.config.registry import Kind, KindRegistry, Registry

BACKBONES: KindRegistry[models.BackboneConfig] = KindRegistry(
    group="ssl_bio.backbones",
    what="backbone",
    discriminator="kind",
    base=models.BackboneConfig,
    builtin={
        "timemae": Kind(models.TimeMAEConfig, "ssl_bio.models.timemae:TimeMAEBackbone"),
        "convnet": Kind(models.ConvNetConfig, "ssl_bio.models.convnet:ConvBackbone"),
        "dilated": Kind(models.DilatedConfig, "ssl_bio.models.dilated:DilatedBackbone"),
        "vqvae": Kind(models.VQVAEConfig, "ssl_bio.models.vqvae:VQVAEBackbone"),
        "lstm": Kind(models.LSTMConfig, "ssl_bio.models.lstm:LSTMBackbone"),
        "attention": Kind(models.AttentionConfig, "ssl_bio.models.attention:AttentionBackbone"),
        "wave_unet": Kind(models.WaveUNetConfig, "ssl_bio.models.wave_unet:WaveUNet"),
        "pixel_shuffle": Kind(models.PixelShuffleConfig, "ssl_bio.models.wave_unet:PixelShuffle"),
        "diffusion": Kind(models.DiffusionConfig, "ssl_bio.models.diffusion:Diffusion"),
    },
)

PRETEXTS: KindRegistry[pretexts.PretextConfig] = KindRegistry(
    group="ssl_bio.pretexts",
    what="pretext task",
    discriminator="pretext",
    base=pretexts.PretextConfig,
    builtin={
        "timemae": Kind(pretexts.TimeMAEPretextConfig, "ssl_bio.pretexts.timemae:TimeMAEPretext"),
        "contrast": Kind(pretexts.ContrastConfig, "ssl_bio.pretexts.contrast:ContrastPretext"),
        "joint_tokens": Kind(pretexts.JointTokensConfig, "ssl_bio.pretexts.joint_tokens:JointTokensPretext"),
        "vqvae": Kind(pretexts.VQVAEPretextConfig, "ssl_bio.pretexts.vqvae:VQVAEPretext"),
        "reconstruction": Kind(pretexts.ReconstructionConfig, "ssl_bio.pretexts.reconstruction:ReconstructionPretext"),
    },
)

TASKS: KindRegistry[tasks.TaskConfig] = KindRegistry(
    group="ssl_bio.tasks",
    what="task",
    discriminator="task",
    base=tasks.TaskConfig,
    builtin={
        "classification": Kind(tasks.ClassificationConfig, "ssl_bio.tasks.classification:Classification"),
        "multilabel": Kind(tasks.MultilabelConfig, "ssl_bio.tasks.multilabel:Multilabel"),
        "regression": Kind(tasks.RegressionConfig, "ssl_bio.tasks.regression:Regression"),
        "forecasting": Kind(tasks.ForecastingConfig, "ssl_bio.tasks.forecasting:Forecasting"),
        "denoising": Kind(tasks.DenoisingConfig, "ssl_bio.tasks.denoising:Denoising"),
    },
)

BASELINES = Registry(
    group="ssl_bio.baselines",
    what="baseline",
    builtin={
        "constant": "ssl_bio.tasks.baselines.constant:Constant",
        "spectral-peak": "ssl_bio.tasks.baselines.spectral_peak:SpectralPeak",
        "hand-features": "ssl_bio.tasks.baselines.hand_features:HandFeatures",
        "minirocket": "ssl_bio.tasks.baselines.minirocket:MiniRocket",
    },
)
