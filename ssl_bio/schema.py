"""The recipe's schema: every section, key, type and default. Nothing here needs torch."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(ge=0, le=0.95)]  # of dropout
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _loss(text: str) -> str:
    waveforms = {"l1", "mse", "snr", "peak", "wavelet"}
    others = {"auto", "cross-entropy", "binary-cross-entropy", "huber", "bins"}
    if text not in others and not set(text.split("+")) <= waveforms:
        raise ValueError(
            f'one of {", ".join(sorted(others | waveforms))}, or of waveforms a sum, such as "peak+wavelet"'
        )
    return text


def _band(ends: list[float]) -> list[float]:
    if ends and (len(ends) != 2 or not ends[0] < ends[1]):
        raise ValueError("from and to in Hz, the lower first, or none at all")
    return ends


Loss = Annotated[str, AfterValidator(_loss)]
Band = Annotated[list[Positive], AfterValidator(_band)]
# A name, or a name and its own strength: "stretch:0.5".
Augmentation = Annotated[
    str, Field(pattern=r"^(rotate|scale|jitter|shift|reverse_time|flip|stretch|recolour|drop_channels)(:\d+(\.\d+)?)?$")
]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, strict=True)


class SyntheticSection(Section):
    """Size of the embedded synthetic dataset."""

    n_subjects: Annotated[int, Field(ge=6)] = 60
    windows_per_subject: Count = 24
    seed: Seed = 0


class DataSection(Section):
    """Which prepared dataset, which label, which splits."""

    dataset: str = "synthetic"
    target: str = ""  # empty: the dataset's first target; "sbp+dbp": several values at once
    channels: list[str] = []  # empty: all of the dataset's
    # How the publisher's recordings are cut, where the dataset has a choice; unset: as its protocol says.
    sampling_rate: NonNegative = 0  # Hz
    window: NonNegative = 0  # s
    stride: Annotated[float, Field(ge=-1)] = -1  # s between windows of a record; 0: one window a record
    highpass: Annotated[float, Field(ge=-1)] = -1  # Hz; 0: no filter
    standardize: Literal["auto", "none", "record"] = "auto"  # "record": by the record's own mean and deviation
    padding: Literal["auto", "zero", "repeat"] = "auto"  # what fills a window after the end of a shorter record
    context: Annotated[float, Field(ge=-1)] = -1  # s of signal shown on either side of the window that is labelled
    derive: Literal["auto", "none", "breathing"] = "auto"  # "breathing": how it moves the pulse, as channels
    normalize: Literal["none", "channel", "window", "channel+window"] = "none"
    validation: str = "subject"  # the split scheme; `ssl-bio data check NAME` lists a dataset's schemes
    folds: Annotated[int, Field(ge=0)] = 0  # cross-validation by subject: of so many parts ...
    fold: Annotated[int, Field(ge=-1)] = -1  # ... this one, from 0, is the test split; -1: each in its turn
    missing: Literal["reject", "zero", "interpolate"] = "reject"  # filled samples count as true ones, in forecasts too
    root: str = ""  # empty: $SSL_BIO_DATA, else the user's cache folder
    synthetic: SyntheticSection = SyntheticSection()


class NoiseSection(Section):
    """What finetune.task "denoise" lays over clean signals."""

    dataset: str = ""  # empty: none, for signals were recorded with noise, and data.target is the same without it
    root: str = ""  # empty: where the signals' dataset lies
    target: str = ""  # the classes that are types of noise; empty: the dataset's first classes
    types: list[str] = []  # to learn from; empty: all
    clean: str = ""  # the class of noise.target that is no noise but the clean signal, where one dataset holds both
    level: Literal["snr", "gain"] = "snr"  # how loud: in dB, or times as it was recorded
    between: Annotated[list[float], Field(min_length=2, max_length=2)] = [-10.0, 10.0]  # drawn evenly in training
    shuffle: Literal["none", "samples", "phase"] = "none"
    band: Band = []  # Hz, from and to; empty: as recorded
    ramp_epochs: Annotated[int, Field(ge=0)] = 0  # over which noise grows from nothing to its level


class S4DSection(Section):
    """The state spaces of "vqvae"."""

    d_state: Annotated[int, Field(ge=2)] = 64
    init: Literal["lin", "inv"] = "lin"
    discretisation: Literal["zoh", "bilinear"] = "zoh"
    bidirectional: bool = True
    lr: Positive = 1e-3  # of poles and steps, whatever the other rates are; they never decay


class QuantizerSection(Section):
    """The codebook of "vqvae"."""

    kind: Literal["vq", "fsq", "simvq"] = "vq"
    codebook_size: Annotated[int, Field(ge=2)] = 512
    code_dim: Annotated[int, Field(ge=0)] = 0  # width in which codes are compared; 0: d_model
    cosine: bool = False
    groups: Count = 1
    levels: Count = 1  # residual quantisation: each level codes what the one before left over
    # "fsq" has these steps in each dimension, and no other key of this section.
    fsq_levels: Annotated[list[Annotated[int, Field(ge=3)]], Field(min_length=1, max_length=6)] = [8, 8, 8]
    decay: Share = 0.99  # of the moving averages
    commitment: NonNegative = 0.25
    kmeans_init: bool = True
    revive_below: NonNegative = 1.0  # average count a batch under which a code moves to a token; 0: never
    rotation_trick: bool = False
    diversity: NonNegative = 0.0  # weight of the entropy of the mean soft assignment


class ModelSection(Section):
    """The network: its backbone and what the pretext task adds to it."""

    kind: Literal[
        "timemae", "convnet", "dilated", "vqvae", "lstm", "attention", "wave_unet", "pixel_shuffle", "diffusion"
    ] = "timemae"
    d_model: Count = 64
    n_layers: Count = 8
    n_heads: Count = 4
    wave_length: Count = 8
    window: NonNegative = 0  # s that the network sees at once: longer signals are cropped; 0: all, or the checkpoint's
    # (of pretraining alone where a backbone forecasts, which sees time_steps)
    stem: Literal["patch", "conv"] = "patch"
    encoder: Literal["timemae", "pre-norm", "bert"] = "timemae"
    bert_weights: str = ""  # empty: random weights; else a local folder that `transformers` can read
    dropout: Rate = 0.2
    decoder_layers: Count = 4
    vocab_size: Annotated[int, Field(ge=2)] = 192
    codewords: str = ""  # "timemae": a VQ-VAE's run folder, whose codes are the codewords; empty: a codebook of its own
    width: Count = 32  # "vqvae": channels of the S4D blocks; networks that denoise: what every level adds
    stride: Count = 1  # samples to a step of the first layers: of "vqvae", and of networks that denoise
    bridge: Literal["conv1d", "linear", "mlp"] = "conv1d"  # "vqvae": between the S4D blocks and tokens
    batch_norm: bool = True  # "vqvae": in the bridge
    coarse: Count = 1  # "vqvae": above 1 the decoder is hierarchical, one coarse code for so many tokens
    # "wave_unet", "pixel_shuffle" and "diffusion", which denoise, n_layers levels deep:
    bottleneck_layers: Annotated[int, Field(ge=0)] = 0  # transformer layers at the deepest level
    sampling_steps: Count = 8  # "diffusion"
    # "lstm" and "attention", which forecast; the first two keys also of "timemae" and "vqvae" where those do:
    time_steps: Annotated[int, Field(ge=2)] = 112  # samples that a forecast looks back on
    scale_by: Literal["training", "history"] = "training"  # "history": each series by its own first time_steps samples
    # "attention": no sample sees later ones. Without, each sees all of time_steps, and every forecast has to read them
    # anew.
    causal: bool = True
    positions: Literal["none", "sinusoidal", "random", "rotary"] = "rotary"
    norm_input: bool = True  # layer normalisation before attention
    norm_query: bool = False
    norm_key: bool = True
    values: Literal["plain", "vq"] = "plain"  # "vq": attention gathers codes of model.quantizer
    s4d: S4DSection = S4DSection()
    quantizer: QuantizerSection = QuantizerSection()


class PretrainSection(Section):
    """The pretext task and its training."""

    # "auto": the one of model.kind; "reconstruct": that of networks that denoise, whose noise is then none
    pretext: Literal["auto", "timemae", "contrast", "vqvae", "reconstruct"] = "auto"
    epochs: Count = 100
    batch_size: Count = 128
    lr: Positive = 1e-3
    optimizer: Literal["adamw", "sgd"] = "adamw"  # "sgd": with momentum 0.9
    weight_decay: NonNegative = 0.01
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegative = 0
    max_grad_norm: NonNegative = 0  # 0: no clipping
    mask_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.6
    mask_per_sample: bool = False  # false: one mask a step for the whole batch, as the official code
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.99
    alpha: NonNegative = 5.0  # weight of masked representation regression
    beta: NonNegative = 1.0  # weight of masked codeword classification
    label_smoothing: Share = 0.2
    straight_through: bool = False  # let the codeword loss move the codewords it predicts
    temperature: Positive = 0.2  # of "contrast"
    neighbours: Annotated[int, Field(ge=0)] = 0  # "contrast": the other view is of a window up to so many rows away
    draw_channels: list[str] = []  # a training window shows one of these, at random, in place of data.channels
    reconstruction: Literal["mse", "l1"] = "mse"  # "vqvae"
    input_noise: NonNegative = 0.0  # "vqvae": deviation of white noise on the encoder's input; the target is clean
    input_mask: Share = 0.0  # "vqvae": share of the encoder's input that is blanked, in stretches of wave_length
    collapse_share: Share = 0.5  # "vqvae": warn when validation uses a smaller share of the codes ...
    collapse_epochs: Count = 3  # ... for so many epochs in a row
    augment: list[Augmentation] = []
    augment_strength: NonNegative = 1.0
    fit_on: Literal["train", "train+val"] = "train+val"  # unlabelled windows; the test split never
    probe_every: Annotated[int, Field(ge=0)] = 0  # epochs between linear probes on validation; 0: never
    select: Literal["last", "probe", "val_loss"] = "last"  # which epoch's weights the run keeps


class FinetuneSection(Section):
    """The downstream task and its training."""

    # "auto": what the target is
    task: Literal["auto", "classify", "multilabel", "regress", "forecast", "denoise"] = "auto"
    mode: Literal["full", "linear-probe", "scratch", "random-frozen"] = "full"
    epochs: Count = 100
    batch_size: Count = 128
    lr: Positive = 1e-4
    backbone_lr: Positive = 1e-5
    optimizer: Literal["adamw", "sgd"] = "adamw"  # "sgd": with momentum 0.9
    weight_decay: NonNegative = 0.01
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_epochs: NonNegative = 0
    max_grad_norm: NonNegative = 0
    # "auto": cross-entropy for classes, binary-cross-entropy for labels, mse for values. "bins": cross-entropy of a
    # value's place in a histogram, whose mean is the answer. "denoise": l1 (which is "auto"), mse, snr (the error in
    # dB), peak (l1 weighted by height), wavelet (l1 of Morlet coefficients), or a sum such as "peak+wavelet".
    loss: Loss = "auto"
    peak_weight: NonNegative = 4.0  # of "peak": how much more the highest sample weighs than one at zero
    peak_ramp_epochs: Annotated[int, Field(ge=0)] = 0  # over which that grows from nothing
    bins: Annotated[int, Field(ge=0, le=4096)] = 64  # of "bins"; 0: the values that training holds, as counts have it
    label_smoothing: Share = 0.0
    balance: NonNegative = 0.0  # windows are drawn by the rarity of their class to this power; 1: all classes alike
    balance_by: Literal["class", "subject"] = "class"
    # A count of events is learnt around every token, not in the window's middle alone; a forecast after every sample,
    # not after the last one alone.
    dense: bool = False
    input_noise: NonNegative = 0.0  # "forecast": deviation of white noise on the history; the target is clean
    draw_channels: list[str] = []  # "denoise": a training window shows one of these, at random, not data.channels
    feed_back: Share = 0.0  # "forecast": share of the samples after time_steps that training shows as its own forecasts
    mixup: NonNegative = 0.0  # parameter of the Beta distribution; 0: none
    augment: list[Augmentation] = []
    augment_strength: NonNegative = 1.0
    average: Share = 0.0  # momentum of the moving average of weights that is evaluated; 0: none
    head: Literal["linear", "mlp"] = "linear"  # "mlp": Linear-GELU-Linear
    head_width: Annotated[int, Field(ge=0)] = 0  # of "mlp"; 0: as wide as the features
    pooling: Annotated[list[Literal["mean", "max", "std", "middle", "attention"]], Field(min_length=1)] = ["mean"]
    layers: Literal["last", "all"] = "last"  # tokens of which layers are pooled
    parts: Count = 1  # pooled apart in so many parts of the window, for what happens in an order, as gestures do
    dropout: Rate = 0.0  # before the head
    probe: Literal["logistic", "ridge", "gradient"] = "logistic"
    probe_c: Positive = 1.0  # "logistic": inverse strength of the L2 penalty, as scikit-learn's C
    probe_alpha: Positive = 100.0  # "ridge": strength of the L2 penalty, as scikit-learn's alpha
    layer_decay: Fraction = 1.0  # the rate of each stage of the backbone over that of the next one
    unfreeze_epochs: Annotated[int, Field(ge=0)] = 0  # one more stage of the backbone trains every so many epochs
    label_fraction: Fraction = 1.0
    label_draw: Literal["windows", "subjects"] = "windows"  # what label_fraction is a share of
    fit_on: Literal["train", "train+val"] = "train"
    selected_on: Literal["val", "last", "test"] = "val"
    monitor: Literal[
        "loss",
        "Accuracy",
        "F1_macro",
        "F1_weighted",
        "BalancedAccuracy",
        "CohenKappa",
        "AUROC",
        "AUC_PR",
        "MAE",
        "RMSE",
        "mse_batch",
        "mse_regressive",
        "snr_gain",
        "correlation",
    ] = "loss"
    patience: Annotated[int, Field(ge=0)] = 0  # epochs without improvement before stopping; 0: never stop


class EvaluateSection(Section):
    """Where and how a finetuned run is judged."""

    split: Literal["train", "val", "test"] = "test"
    paces: Annotated[list[Positive], Field(min_length=1)] = [1.0]  # a rate is the mean answer to windows played so fast
    horizon: Annotated[int, Field(ge=0)] = 0  # samples to forecast; 0: to the end of the series
    # "denoise": every type of noise at each of these (dB, or factors under noise.level "gain")
    levels: Annotated[list[float], Field(min_length=1)] = [-10.0, -5.0, 0.0, 5.0, 10.0]
    noises: list[str] = []  # types to judge by, learnt or not; empty: all of the dataset's
    per_subject: Annotated[int, Field(ge=0)] = 0  # at most so many windows of each person, evenly spaced; 0: all
    # Hz, from and to, of the classical answer beside ours: band-pass, then wavelet soft threshold; empty: none
    classical_band: Band = [0.67, 30.0]
    batch_size: Count = 512


class ReferenceSection(Section):
    """Published figures by mode and metric column, shown beside ours; never read by training."""

    source: str = ""
    full: dict[str, float] = {}
    linear_probe: dict[str, float] = {}
    scratch: dict[str, float] = {}
    random_frozen: dict[str, float] = {}
    log: dict[str, float] = {}  # the lab's own best, whatever the mode
    paper: dict[str, float] = {}


class Recipe(Section):
    """A complete recipe: everything a run does follows from it and the prepared data."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "demo"
    seed: Seed = 0
    model_name: str = ""  # for the sheet; empty: the recipe's name
    task_name: str = ""  # for the sheet; empty: dataset and target
    data: DataSection = DataSection()
    noise: NoiseSection = NoiseSection()
    model: ModelSection = ModelSection()
    pretrain: PretrainSection = PretrainSection()
    finetune: FinetuneSection = FinetuneSection()
    evaluate: EvaluateSection = EvaluateSection()
    reference: ReferenceSection = ReferenceSection()
