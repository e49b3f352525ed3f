"""The command line of the Model Optimizer of 2018."""

import typer

from thorax.cli import console
from thorax.cli.optimize import begin_reading
from thorax.cli.options import Json, one_by_one
from thorax.mo.command_line import Flags

mo_app = typer.Typer()


@mo_app.command(
    epilog="Example:  thorax mo --input_model net.onnx --data_type FP16 --output_dir ir",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
@one_by_one
def mo(context: typer.Context, flags: Flags, json: Json = False) -> None:
    """The classic Model Optimizer: any model to IR, by the flags of 2018."""
    if flags.input_model is not None:
        begin_reading(flags.input_model)
    from thorax.mo.convert import convert
    from thorax.mo.flags import refuse_unknown
    from thorax.report.optimize import artifact_table, optimize_hint, ports_table

    refuse_unknown(context.args, [word for each in context.command.params for word in each.opts])
    result = convert(flags, on_progress=console.say)
    xml = result.xml
    console.answer(
        result,
        json,
        lambda: [ports_table(result), artifact_table([result])],
        f"made: {xml} and {xml.with_suffix('.bin').name}",
        f"next: thorax optimize {xml} {optimize_hint(result)} --out {xml.stem}.artifact",
    )
