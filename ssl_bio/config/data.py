"""The sections `[data]`, `[data.synthetic]` and `[reference]`."""

from typing import Annotated, Literal

from pydantic import Field

from ssl_bio.config.section import Count, CountOrNone, NonNegative, Section, Seed, key


class SyntheticConfig(Section):
    """Size of the embedded synthetic dataset."""

    n_subjects: Annotated[int, Field(ge=6)] = key(60, "simulated people")
    windows_per_subject: Annotated[int, Field(ge=4)] = key(24, "windows of each, evenly over the four rhythms")
    seed: Seed = key(0, "seed of the simulation")


class DataConfig(Section):
    """Which dataset, how its recordings become windows, which label, which splits."""

    dataset: str = key("synthetic", "name from `ssl-bio data list`")
    target: str = key("", 'label to learn; "sbp+dbp": several values at once; empty: the first that fits the task')
    channels: list[str] = key([], "channels, in this order; empty: all")
    sampling_rate: NonNegative = key(0, "resample to this; 0: as the dataset's protocol has it", unit="Hz")
    window: NonNegative = key(0, "length of a window; 0: as the protocol has it", unit="s")
    stride: Annotated[float, Field(ge=-1)] = key(
        -1, "from one window's start to the next; 0: one window a record; -1: as the protocol has it", unit="s"
    )
    highpass: Annotated[float, Field(ge=-1)] = key(
        -1, "remove what is slower; 0: no filter; -1: as the protocol has it", unit="Hz"
    )
    standardize: Literal["auto", "none", "record"] = key(
        "auto", '"record": each record by its own mean and standard deviation; "auto": as the protocol has it'
    )
    padding: Literal["auto", "zero", "repeat"] = key(
        "auto", "what fills a window after the end of a shorter record; auto: as the protocol has it"
    )
    context: Annotated[float, Field(ge=-1)] = key(
        -1, "signal shown on either side of the window that is labelled; -1: as the protocol has it", unit="s"
    )
    derive: Literal["auto", "none", "breathing"] = key(
        "auto", '"breathing": respiratory modulations of the pulse in place of the channels'
    )
    normalize: Literal["none", "channel", "window", "channel+window"] = key(
        "none",
        'first layer of the network: "channel" standardises by the training split, "window" by the window itself',
        architecture=True,
    )
    split_scheme: str = key("subject", "how rows are split; `ssl-bio data check NAME` lists a dataset's schemes")
    val_share: Annotated[float, Field(ge=0, lt=1)] = key(
        0.0, "share of the training people that validates, where the scheme has no validation people; 0: none"
    )
    folds: CountOrNone = key(0, "cross-validation by subject in so many parts; 0: none")
    fold: Annotated[int, Field(ge=-1)] = key(-1, "the part that tests, from 0; -1: each in its turn")
    missing: Literal["reject", "zero", "interpolate"] = key(
        "reject", "what becomes of NaN and infinite samples; filled ones count as measured"
    )
    root: str = key("", "folder of prepared datasets; empty: $SSL_BIO_DATA, else the user's cache folder")
    synthetic: SyntheticConfig = SyntheticConfig()


class ReferenceConfig(Section):
    """Published metrics by mode, shown beside ours; never read by training."""

    source: str = key("", "where the numbers come from")
    full: dict[str, float] = key({}, "of full finetuning")
    linear_probe: dict[str, float] = key({}, "of a linear probe")
    scratch: dict[str, float] = key({}, "of training from random weights")
    random_frozen: dict[str, float] = key({}, "of a linear probe on a random backbone")
    log: dict[str, float] = key({}, "the lab's own best, whatever the mode")
    paper: dict[str, float] = key({}, "the paper's, whatever the mode")


class QuantizerConfig(Section):
    """A codebook of vector quantisation."""

    kind: Literal["vq", "fsq", "simvq"] = key(
        "vq", "codebook with moving averages, finite scalar quantisation, or a learnt map of a frozen codebook"
    )
    codebook_size: Annotated[int, Field(ge=2)] = key(512, "codes")
    code_dim: CountOrNone = key(0, "width in which codes are compared; 0: d_model")
    cosine: bool = key(False, "compare directions instead of distances")
    groups: Count = key(1, "codebooks side by side, each for a part of the width")
    levels: Count = key(1, "residual quantisation: each level codes what the one before left over")
    fsq_levels: Annotated[list[Annotated[int, Field(ge=3)]], Field(min_length=1, max_length=6)] = key(
        [8, 8, 8], 'steps in each dimension of "fsq", which has no other key of this section'
    )
    decay: Annotated[float, Field(ge=0, lt=1)] = key(0.99, "of the moving averages")
    commitment: NonNegative = key(0.25, "weight of the commitment loss")
    kmeans_init: bool = key(True, "start from k-means of the first batch")
    dead_code_threshold: NonNegative = key(
        1.0, "a code whose average count a batch falls below moves to a token of the batch; 0: never"
    )
    rotation_trick: bool = key(False, "gradient by rotation (Fifty et al. 2024) instead of straight through")
    diversity: NonNegative = key(0.0, "weight of the entropy of the mean soft assignment")
