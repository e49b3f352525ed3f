"""What `thorax demo`, `thorax report` and `thorax schema` answer."""

from typing import Literal

from thorax.results.schema import Result


class DemoResult(Result):
    """What the whole job on synthetic radiographs came to."""

    command: Literal["demo"] = "demo"
    report: str
    """The page."""
    mean_auroc: float
    """Of the fp32 artifact on the test split, 0-1."""
    int8_drop: float
    """Mean AUROC of fp32 minus that of int8, same test images."""
    images_per_s: float
    """Of the int8 artifact, offline."""
    elapsed_s: float
    """Wall clock of the whole demo."""


class ReportResult(Result):
    """Where a page of results was written."""

    command: Literal["report"] = "report"
    report: str
    """The page."""


class SchemaList(Result):
    """The commands whose results have a JSON Schema."""

    command: Literal["schema"] = "schema"
    commands: tuple[str, ...]
    """As they are typed after `thorax`."""
