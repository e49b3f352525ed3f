"""The command line of the Model Optimizer of 2018."""

import re
from typing import Final

import typer

from thorax.cli import console
from thorax.cli.optimize import begin_reading
from thorax.cli.options import Json, one_by_one
from thorax.errors import ThoraxError
from thorax.mo.command_line import Flags

mo_app = typer.Typer()

_ELSEWHERE: Final = re.compile(
    r"(?:with )?--(?:side|structure),? or (?=(?:with )?--\w+ of `thorax mo`)"
)
_OWN: Final = {"--side": "--input_shape", "--structure": "--input_proto or --input_symbol"}


def in_own_words(message: str) -> str:
    """Return advice that readers give for every command with the options of this one alone."""
    message = _ELSEWHERE.sub("", message).replace(" of `thorax mo`", "")
    return re.sub(r"--(?:side|structure)\b", lambda option: _OWN[option[0]], message)


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
    try:
        result = convert(flags, on_progress=console.say)
    except ThoraxError as error:
        raise type(error)(error.code, in_own_words(error.message)) from error
    xml = result.xml
    console.answer(
        result,
        json,
        lambda: [ports_table(result), artifact_table([result])],
        f"made: {xml} and {xml.with_suffix('.bin').name}",
        f"next: thorax optimize {xml} {optimize_hint(result)} --out {xml.stem}.artifact",
    )
