"""The sections `[finetune]` and `[evaluate]`: one class of each for every downstream task."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ssl_bio.config.models import Output
from ssl_bio.config.section import (
    Band,
    Count,
    CountOrNone,
    DropoutRate,
    Fraction,
    NonNegative,
    OptimizationConfig,
    Positive,
    Section,
    Share,
    broken_rule,
    key,
)

Mode = Literal["full", "linear-probe", "scratch", "random-frozen"]
TrainedMode = Literal["full", "scratch"]
WAVEFORM_LOSSES = ("l1", "mse", "snr", "peak", "wavelet")

#: What a solver on frozen features does not use.
_OF_GRADIENTS = (
    "epochs",
    "batch_size",
    "lr",
    "optimizer",
    "weight_decay",
    "schedule",
    "warmup_epochs",
    "max_grad_norm",
    "augment",
    "augment_strength",
    "class_balance",
    "ema_decay",
    "selected_on",
    "monitor",
    "patience",
    "mixup",
    "label_smoothing",
    "dropout",
    "loss",
)
_OF_PROBES = ("probe", "probe_c", "probe_alpha")


def _waveform_loss(text: str) -> str:
    if not set(text.split("+")) <= set(WAVEFORM_LOSSES):
        raise ValueError(f'one of {", ".join(WAVEFORM_LOSSES)}, or a sum such as "peak+wavelet"')
    return text


class EvaluateConfig(Section):
    """Where and how a finetuned run is evaluated."""

    split: Literal["train", "val", "test"] = key("test", "the split that is evaluated")
    per_subject: CountOrNone = key(0, "at most so many windows of each person, evenly spaced; 0: all")
    batch_size: Count = key(512, "windows in a batch")


class TaskConfig(OptimizationConfig):
    """What every downstream task has.

    `accepts`: what a backbone has to give ("tokens", "sequence", "signals"). `Evaluate`: the class of [evaluate].
    """

    accepts: ClassVar[tuple[Output, ...]] = ("tokens",)
    Evaluate: ClassVar[type[EvaluateConfig]] = EvaluateConfig

    task: str
    mode: Mode = key(
        "full",
        '"full": all of a pretrained network; "linear-probe": a head on frozen features; "scratch" and '
        '"random-frozen": the same from random weights',
    )
    lr: Positive = key(1e-4, "peak learning rate of the head; from scratch, of everything")
    backbone_lr: Positive = key(1e-5, "peak learning rate of the backbone")
    class_balance: NonNegative = key(
        0.0, "windows are drawn by the rarity of their class to this power; 1: all classes alike"
    )
    balance_by: Literal["class", "subject"] = key("class", "whose rarity class_balance looks at")
    ema_decay: Share = key(0.0, "of the moving average of weights that is evaluated; 0: none")
    label_fraction: Fraction = key(1.0, "share of the labels that is used")
    label_draw: Literal["windows", "subjects"] = key("windows", "what label_fraction is a share of")
    fit_on: Literal["train", "train+val"] = key("train", "labelled windows to learn from")
    selected_on: Literal["val", "last", "test"] = key("val", 'split that chooses the epoch; "last": none does')
    monitor: str = key("loss", "metric that chooses the epoch")
    patience: CountOrNone = key(0, "epochs without improvement before stopping; 0: never stop", unit="epochs")

    @property
    def frozen(self) -> bool:
        """Return whether the backbone stays as it is."""
        return self.mode in ("linear-probe", "random-frozen")

    @property
    def pretrained(self) -> bool:
        """Return whether training starts from a pretrained backbone."""
        return self.mode in ("full", "linear-probe")

    @property
    def solved(self) -> bool:
        """Return whether a solver fits the head, so that there are no epochs."""
        return False

    def unused_keys(self) -> dict[str, str]:
        """Return the keys that change nothing as the others are set, each with the reason."""
        unused = {}
        if self.mode == "scratch":
            unused["backbone_lr"] = "from scratch everything learns at finetune.lr"
        if self.selected_on == "last":
            unused |= dict.fromkeys(("monitor", "patience"), 'finetune.selected_on "last" chooses no epoch')
        if not self.class_balance:
            unused["balance_by"] = "finetune.class_balance is 0"
        if not self.augment:
            unused["augment_strength"] = "finetune.augment is empty"
        return unused

    @model_validator(mode="after")
    def _selects_on_unseen_windows(self) -> Self:
        if not self.solved and self.selected_on == "val" and "val" in self.fit_on:
            raise broken_rule(
                'finetune.fit_on "train+val" trains on the windows that finetune.selected_on "val" would choose by; '
                'set finetune.selected_on to "last"'
            )
        return self


class WindowTaskConfig(TaskConfig):
    """What tasks have that ask something of a window: tokens are pooled, a head answers."""

    mixup: NonNegative = key(0.0, "parameter of mixup's Beta distribution (Zhang et al. 2018); 0: none")
    head: Literal["linear", "mlp"] = key("linear", '"mlp": Linear-GELU-Linear')
    head_width: CountOrNone = key(0, 'hidden width of head "mlp"; 0: as wide as the features')
    pooling: Annotated[list[Literal["mean", "max", "std", "middle", "attention"]], Field(min_length=1)] = key(
        ["mean"], "how tokens are pooled into features, side by side"
    )
    layers: Literal["last", "all"] = key("last", "tokens of which layers are pooled")
    pool_segments: Count = key(1, "pooled apart in so many segments of the window, for what happens in an order")
    dropout: DropoutRate = key(0.0, "before the head")
    probe: Literal["logistic", "ridge", "gradient"] = key(
        "logistic", "how a head on frozen features is fitted; values are solved by ridge regression anyway"
    )
    probe_c: Positive = key(1.0, 'of probe "logistic": inverse strength of the L2 penalty, as scikit-learn\'s C')
    probe_alpha: Positive = key(100.0, 'of probe "ridge": strength of the L2 penalty, as scikit-learn\'s alpha')
    layer_decay: Fraction = key(1.0, "learning rate of each stage of the backbone over that of the next one")
    unfreeze_epochs: CountOrNone = key(
        0, "one more stage of the backbone trains every so many epochs; 0: all from the start", unit="epochs"
    )

    @property
    def solved(self) -> bool:
        """Return whether a solver fits the head."""
        return self.frozen and self.probe != "gradient"

    def unused_keys(self) -> dict[str, str]:
        """Return the keys that change nothing as the others are set, each with the reason."""
        unused = super().unused_keys()
        if self.frozen:
            why = f'finetune.mode "{self.mode}" keeps the backbone as it is'
            unused |= dict.fromkeys(("backbone_lr", "layer_decay", "unfreeze_epochs"), why)
        else:
            unused |= dict.fromkeys(_OF_PROBES, f'finetune.mode "{self.mode}" trains the whole network')
        if self.head == "linear":
            unused["head_width"] = 'finetune.head is "linear"'
        if self.solved:
            why = f'a {self.probe} probe is solved, not trained; finetune.probe "gradient" trains it'
            unused |= dict.fromkeys(_OF_GRADIENTS, why)
        return unused

    @model_validator(mode="after")
    def _head_fits_the_mode(self) -> Self:
        if self.frozen and "attention" in self.pooling:
            raise broken_rule('finetune.pooling "attention" has weights to learn: not on a frozen backbone')
        if self.solved and self.head != "linear":
            raise broken_rule(f'finetune.head "{self.head}" cannot be solved for: set finetune.probe to "gradient"')
        return self


class ClassificationConfig(WindowTaskConfig):
    """One class of several."""

    task: Literal["classification"] = key("classification", "the downstream task")
    loss: Literal["cross-entropy"] = key("cross-entropy", "what training minimises")
    label_smoothing: Share = key(0.0, "of the classes")


class MultilabelConfig(WindowTaskConfig):
    """Any of several labels."""

    task: Literal["multilabel"] = key("multilabel", "the downstream task")
    loss: Literal["binary-cross-entropy"] = key("binary-cross-entropy", "what training minimises")
    label_smoothing: Share = key(0.0, "of the labels")


class RegressionEvaluateConfig(EvaluateConfig):
    """Evaluation of values."""

    tta_rates: Annotated[list[Positive], Field(min_length=1)] = key(
        [1.0], "a rate (in Hz or /min) is the mean prediction over windows played so many times as fast"
    )


class RegressionConfig(WindowTaskConfig):
    """Values in their units."""

    Evaluate: ClassVar[type[EvaluateConfig]] = RegressionEvaluateConfig

    task: Literal["regression"] = key("regression", "the downstream task")
    loss: Literal["mse", "l1", "huber", "bins"] = key(
        "mse", 'what training minimises; "bins": cross entropy of a histogram of the value (Imani and White 2018)'
    )
    bins: Annotated[int, Field(ge=0, le=4096)] = key(
        64, 'of loss "bins"; 0: the values that training has, as of counts'
    )
    dense: bool = key(False, "a count of events is learnt around every token, not in the window's middle alone")

    def unused_keys(self) -> dict[str, str]:
        """Return the keys that change nothing as the others are set, each with the reason."""
        unused = super().unused_keys()
        if self.loss != "bins":
            unused["bins"] = f'it is of the loss "bins", not "{self.loss}"'
        return unused

    @model_validator(mode="after")
    def _dense_asks_every_token(self) -> Self:
        if self.solved and self.loss == "bins":
            raise broken_rule('finetune.loss "bins" cannot be solved for: set finetune.probe to "gradient"')
        if self.dense and self.frozen:
            raise broken_rule(f'finetune.dense trains the whole network: not with finetune.mode "{self.mode}"')
        alone = self.pooling == ["middle"] and self.layers == "last" and self.pool_segments == 1 and not self.mixup
        if self.dense and not alone:
            raise broken_rule(
                'finetune.dense asks each token alone: set finetune.pooling to ["middle"], and leave out layers, '
                "pool_segments and mixup"
            )
        return self


class ForecastingEvaluateConfig(EvaluateConfig):
    """Evaluation of forecasts."""

    horizon: CountOrNone = key(0, "samples to forecast; 0: to the end of the series", unit="samples")


class ForecastingConfig(TaskConfig):
    """How a series goes on."""

    accepts: ClassVar[tuple[Output, ...]] = ("sequence", "tokens")
    Evaluate: ClassVar[type[EvaluateConfig]] = ForecastingEvaluateConfig

    task: Literal["forecasting"] = key("forecasting", "the downstream task")
    mode: TrainedMode = key("full", '"full": from a pretrained backbone; "scratch": from random weights')
    loss: Literal["mse", "l1"] = key("mse", "what training minimises, of standardised samples")
    time_steps: Annotated[int, Field(ge=2)] = key(112, "what a forecast looks back on", unit="samples")
    scale_by: Literal["training", "history"] = key(
        "training", '"history": each series is standardised by its own first time_steps samples'
    )
    dense: bool = key(False, "a forecast after every sample is learnt, not after the last one alone")
    input_noise: NonNegative = key(0.0, "white noise on the history in training", unit="standard deviations")
    scheduled_sampling: Share = key(
        0.0, "share of the samples after time_steps that training shows as its own forecasts (Duckworth et al. 2019)"
    )

    @model_validator(mode="after")
    def _series_as_they_are(self) -> Self:
        if any(text.startswith("stretch") for text in self.augment):
            raise broken_rule("a forecast is of series as they are: leave out stretch")
        if self.scheduled_sampling and not self.dense:
            raise broken_rule(
                "finetune.scheduled_sampling replaces samples of a longer history: set finetune.dense to true"
            )
        return self


class NoiseConfig(Section):
    """The noise that is added to clean signals."""

    dataset: str = key(
        "", "where noise comes from; empty: signals were recorded with it, data.target is their clean twin"
    )
    root: str = key("", "folder of prepared datasets; empty: data.root")
    target: str = key("", "the dataset's classes that are types of noise; empty: its first classes")
    types: list[str] = key([], "types to learn from; empty: all")
    clean: str = key("", "the class that is no noise but the clean signal, where one dataset holds both")
    level: Literal["snr", "gain"] = key("snr", "how loud: in dB, or times as it was recorded")
    range: Annotated[list[float], Field(min_length=2, max_length=2)] = key(
        [-10.0, 10.0], "levels drawn evenly in training, from and to", unit="dB, or factors under level gain"
    )
    shuffle: Literal["none", "samples", "phase"] = key("none", "new noise from old: its samples or its phases shuffled")
    band: Band = key([], "band-pass, from and to; empty: as recorded", unit="Hz")
    ramp_epochs: CountOrNone = key(0, "over which noise grows from nothing to its level", unit="epochs")

    @model_validator(mode="after")
    def _levels_in_order(self) -> Self:
        low, high = self.range
        if low > high or (self.level == "gain" and low < 0):
            raise broken_rule(f"finetune.noise.range {self.range}: from the lower to the higher, gains from 0")
        if not self.dataset and self != NoiseConfig.model_construct():
            raise broken_rule("[finetune.noise] without noise.dataset: name the dataset that noise comes from")
        return self


class DenoisingEvaluateConfig(EvaluateConfig):
    """Evaluation of denoising: every type of noise at every level."""

    levels: Annotated[list[float], Field(min_length=1)] = key(
        [-10.0, -5.0, 0.0, 5.0, 10.0], "levels of each noise", unit="dB, or factors under noise.level gain"
    )
    noises: list[str] = key([], "types of noise, learnt or not; empty: all of the dataset's")
    classical_band: Band = key(
        [0.67, 30.0], "band-pass of the classical baseline, before wavelet thresholds; empty: none", unit="Hz"
    )


class DenoisingConfig(TaskConfig):
    """The signal without its noise."""

    accepts: ClassVar[tuple[Output, ...]] = ("signals", "tokens")
    Evaluate: ClassVar[type[EvaluateConfig]] = DenoisingEvaluateConfig

    task: Literal["denoising"] = key("denoising", "the downstream task")
    mode: TrainedMode = key("full", '"full": from a pretrained backbone; "scratch": from random weights')
    loss: Annotated[str, AfterValidator(_waveform_loss)] = key(
        "l1",
        "what training minimises: l1, mse, snr (squared error in dB), peak (l1 weighted by height), wavelet (l1 of "
        'Morlet coefficients), or a sum such as "peak+wavelet"',
    )
    peak_weight: NonNegative = key(4.0, 'of loss "peak": how much more the highest sample weighs than one at zero')
    peak_ramp_epochs: CountOrNone = key(0, "over which that grows from nothing", unit="epochs")
    draw_channels: list[str] = key(
        [], "a training window shows one of these channels, at random, in place of data.channels"
    )
    noise: NoiseConfig = NoiseConfig.model_construct()

    def unused_keys(self) -> dict[str, str]:
        """Return the keys that change nothing as the others are set, each with the reason."""
        unused = super().unused_keys()
        if "peak" not in self.loss.split("+"):
            why = f'it is of the loss "peak", not "{self.loss}"'
            unused |= dict.fromkeys(("peak_weight", "peak_ramp_epochs"), why)
        return unused

    @model_validator(mode="after")
    def _ramps_end(self) -> Self:
        for name, ramp in (("noise.ramp_epochs", self.noise.ramp_epochs), ("peak_ramp_epochs", self.peak_ramp_epochs)):
            if ramp >= self.epochs:
                raise broken_rule(f"finetune.{name} {ramp}: of {self.epochs} finetune.epochs none would come after it")
        if self.draw_channels and not self.noise.dataset:
            raise broken_rule(
                "finetune.draw_channels needs finetune.noise.dataset: a recording and its clean twin go together"
            )
        return self
