"""What every section of a recipe is made of: strict pydantic models whose keys carry a description and a unit."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(gt=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
DropoutRate = Annotated[float, Field(ge=0, le=0.95)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
CountOrNone = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _ordered_band(limits: list[float]) -> list[float]:
    if limits and (len(limits) != 2 or not limits[0] < limits[1]):
        raise ValueError("from and to in Hz, the lower first, or none at all")
    return limits


Band = Annotated[list[Positive], AfterValidator(_ordered_band)]

#: Names that `augment` takes; `ssl_bio.data.augmentations` has the functions.
AUGMENTATION_NAMES = (
    "rotate",
    "scale",
    "jitter",
    "shift",
    "reverse_time",
    "flip",
    "stretch",
    "random_filter",
    "drop_channels",
)
Augmentation = Annotated[str, Field(pattern=rf"^({'|'.join(AUGMENTATION_NAMES)})(:\d+(\.\d+)?)?$")]


class Section(BaseModel):
    """Base of all sections: unknown keys are errors and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False, strict=True)


def key(default: Any, description: str, *, unit: str = "", architecture: bool = False) -> Any:
    """Return a pydantic field with its description, its unit, and whether it decides the shape of the network.

    `architecture` keys cannot be changed once a checkpoint has them.
    """
    extra: dict[str, JsonValue] = {"unit": unit} if unit else {}
    if architecture:
        extra["architecture"] = True
    return Field(default=default, description=description, json_schema_extra=extra or None)


def broken_rule(message: str) -> PydanticCustomError:
    """Return the error of a rule between several keys; its message is shown as it stands."""
    return PydanticCustomError("rule", "{message}", {"message": message})


class OptimizationConfig(Section):
    """What every training loop is told: how long, in what batches, at which learning rates."""

    epochs: Count = key(100, "passes over the training windows")
    batch_size: Count = key(128, "windows in a batch")
    lr: Positive = key(1e-3, "peak learning rate")
    optimizer: str = Field(
        default="adamw",
        pattern="^(adamw|sgd)$",
        description='"adamw" (Loshchilov and Hutter 2019), or "sgd" with momentum 0.9',
    )
    weight_decay: NonNegative = key(0.01, "decoupled weight decay; of state-space parameters always 0")
    schedule: str = Field(
        default="constant",
        pattern="^(constant|cosine)$",
        description='learning rate after the warm-up: "constant", or "cosine" down to 0',
    )
    warmup_epochs: NonNegative = key(0, "linear warm-up of the learning rate", unit="epochs")
    max_grad_norm: NonNegative = key(0, "gradients are clipped to this norm; 0: no clipping")
    augment: list[Augmentation] = key(
        [], 'augmentations of training windows in this order, each with a strength of its own if given: "stretch:0.5"'
    )
    augment_strength: NonNegative = key(1.0, "factor on the strength of all augmentations")
