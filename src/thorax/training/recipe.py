"""What a training run is told: the model of a recipe file."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from thorax.config import Settings
from thorax.data.loader import Augmentation
from thorax.images.preprocess import InputSpec
from thorax.training.ema import Ema
from thorax.training.losses import Loss
from thorax.training.optimizers import OptimizerSettings
from thorax.training.parallel import Parallel
from thorax.training.sam import Sam
from thorax.training.schedules import ScheduleSettings


class Network(Settings):
    """What is trained."""

    topology: Literal["resnet18", "resnet50", "densenet121", "vgg16_bn"]
    """Architecture."""
    output_stride: Literal[32, 16] = 32
    """Input side / feature map side; 16 = heat maps twice as fine at about half the speed."""
    width: float = Field(default=1.0, ge=1 / 64, le=1)
    """Share of the channels in every layer of a ResNet, 1/64 to 1 = the published network. A
    quarter trains about ten times as fast on a CPU and is enough for small, clean data."""


class Input(Settings):
    """How bytes become network input; the side is that of the store."""

    mean: float = Field(default=InputSpec(256).mean, ge=0, le=1)
    """Subtracted after bytes are scaled to 0-1."""
    std: float = Field(default=InputSpec(256).std, gt=0, le=1)
    """Divided by after the mean, above 0 to 1."""


class Training(Settings):
    """How long, how, and what is kept."""

    epochs: int = Field(ge=1, le=1_000_000)
    """Passes over the training split, 1 to 1,000,000."""
    batch: int = Field(ge=2, le=1 << 24)
    """Images an update, over all ranks, 2 to 2**24; what is left over at the end of an epoch is
    skipped. It stays the same whatever the number of ranks, and so does the learning rate."""
    micro_batch: int | None = Field(default=None, ge=2, le=1 << 24)
    """Images that pass the network together on a rank, for want of memory; batch normalisation
    sees as many. Absent = all of the rank's share. Gradients are added up over what remains."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Chooses initial weights, order and augmentation."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """Arithmetic of convolutions; auto = bf16 where the processor has it, else fp32."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to train."""
    compile: bool = False
    """Whether torch.compile fuses the network's operations; needs a C++ compiler."""
    workers: int = Field(default=2, ge=1, le=256)
    """Threads of a rank that read and augment images."""
    threads: int | None = Field(default=None, ge=1, le=1024)
    """Threads of a rank that compute; absent = its share of the host's processors."""
    checkpoint_steps: int = Field(default=0, ge=0, le=1 << 31)
    """Updates between checkpoints within an epoch, 0 to 2**31; 0 = only after whole epochs."""
    keep: Literal["best", "last"] = "best"
    """Result of the run: the epoch of the highest mean validation AUROC, or the last one."""


class Resize(Settings):
    """A part of the run on smaller images; validation always sees those of the store."""

    until: float = Field(gt=0, le=1)
    """Share of the epochs after which this ends, above 0 to 1."""
    side: int = Field(ge=32, le=2048)
    """Side that training images are brought to, 32 to 2048 pixels."""


class Recipe(Settings):
    """A training run but for its data: `thorax train RECIPE.toml --data STORE`."""

    network: Network
    training: Training
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    parallel: Parallel = Parallel()
    loss: Loss = Loss()
    sam: Sam | None = None
    """Sharpness-aware minimisation; absent = off."""
    ema: Ema | None = None
    """Averaged weights as the result; absent = off."""
    resize: Annotated[tuple[Resize, ...], Field(max_length=100)] = ()
    """Progressive resizing, in the order of `until`; after the last, images are as stored."""
    input: Input = Input()
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _resize_ascends(self) -> Self:
        ends = [part.until for part in self.resize]
        if ends != sorted(set(ends)):
            raise ValueError("resize in ascending order of until")
        return self

    def side(self, epoch: int, stored: int) -> int:
        """Return the side of training images in an epoch, counted from 0."""
        for part in self.resize:
            if epoch < part.until * self.training.epochs:
                return part.side
        return stored
