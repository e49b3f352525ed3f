"""`thorax demo`: the main job on synthetic radiographs."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from thorax.cli import console
from thorax.cli.options import Json, Out

demo_app = typer.Typer()


@demo_app.command(epilog="Example:  thorax demo --out demo")
def demo(
    out: Out = Path("demo"),
    seed: Annotated[int, Option(min=0, help="Of phantoms and training.")] = 0,
    json: Json = False,
) -> None:
    """Phantoms -> train -> fp32, bf16, int8 -> validate -> classify -> benchmark -> report."""
    from thorax.cli import demonstration

    made = demonstration.make(out, seed=seed)
    console.emit(made.result, as_json=json, show=lambda: print(made.summary()))
