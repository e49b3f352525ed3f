"""The command line of the Model Optimizer of 2018."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from thorax.cli import console
from thorax.cli.optimize import begin_reading
from thorax.cli.options import Extensions, Json

mo_app = typer.Typer()


@mo_app.command(
    epilog="Example:  thorax mo --input_model net.onnx --data_type FP16 --output_dir ir",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def mo(
    context: typer.Context,
    input_model: Annotated[
        Path | None, Option("--input_model", "-m", "-w", help="Model file, or its weights.")
    ] = None,
    model_name: Annotated[
        str | None, Option("--model_name", "-n", help="Of the files; default: as the input.")
    ] = None,
    output_dir: Annotated[
        Path, Option("--output_dir", "-o", help="Where NAME.xml and NAME.bin go.")
    ] = Path(),
    input_shape: Annotated[
        str | None,
        Option("--input_shape", help="[1,3,224,224],... in the framework's own layout."),
    ] = None,
    batch: Annotated[int | None, Option("--batch", "-b", help="First axis of every input.")] = None,
    data_type: Annotated[
        str, Option("--data_type", help="FP16, half, FP32; float is as the model has it.")
    ] = "float",
    mean_values: Annotated[
        str | None, Option("--mean_values", help="(123.68,116.78,103.94) or data(...),...")
    ] = None,
    scale_values: Annotated[
        str | None, Option("--scale_values", help="Divide by, after the mean; as --mean_values.")
    ] = None,
    scale: Annotated[
        float | None, Option("--scale", "-s", help="Divide every input by this.")
    ] = None,
    reverse_input_channels: Annotated[
        bool, Option("--reverse_input_channels", help="Swap RGB and BGR, before the mean.")
    ] = False,
    inputs: Annotated[
        str | None,
        Option("--input", help="Begin here: data[1,3,64,64]{u8},0:conv,flag->False."),
    ] = None,
    outputs: Annotated[
        str | None, Option("--output", help="End here: layers or tensors, prob,conv5:0.")
    ] = None,
    layout: Annotated[
        str | None, Option("--layout", help="nchw, nhwc->nchw or data(nhwc->nchw),...")
    ] = None,
    disable_nhwc_to_nchw: Annotated[
        bool, Option("--disable_nhwc_to_nchw", help="Leave TensorFlow's channels last.")
    ] = False,
    input_proto: Annotated[
        Path | None, Option("--input_proto", "-d", help="Caffe's deploy.prototxt.")
    ] = None,
    input_symbol: Annotated[
        Path | None, Option("--input_symbol", help="MXNet's -symbol.json.")
    ] = None,
    saved_model_dir: Annotated[
        Path | None, Option("--saved_model_dir", help="TensorFlow SavedModel folder.")
    ] = None,
    freeze_placeholder_with_value: Annotated[
        str | None, Option("--freeze_placeholder_with_value", help="As name->value of --input.")
    ] = None,
    framework: Annotated[
        str | None, Option("--framework", help="tf, caffe, mxnet, onnx, keras: to be checked.")
    ] = None,
    topology: Annotated[
        str | None, Option("--topology", help="Of a PyTorch state dict: a name, module:function.")
    ] = None,
    extension: Extensions = None,
    json: Json = False,
) -> None:
    """The classic Model Optimizer: any model to IR, by the flags of 2018."""
    if input_model is not None:
        begin_reading(input_model)
    from thorax.mo.arguments import Flags
    from thorax.mo.convert import convert
    from thorax.mo.flags import refuse_unknown

    known = [word for one in context.command.params for word in one.opts]
    refuse_unknown(context.args, known)
    made = convert(
        Flags(
            input_model=input_model,
            saved_model_dir=saved_model_dir,
            input_proto=input_proto,
            input_symbol=input_symbol,
            framework=framework,
            topology=topology,
            extensions=tuple(extension or ()),
            model_name=model_name,
            output_dir=output_dir,
            data_type=data_type,
            input=inputs,
            output=outputs,
            input_shape=input_shape,
            batch=batch,
            mean_values=mean_values,
            scale_values=scale_values,
            scale=scale,
            reverse_input_channels=reverse_input_channels,
            layout=layout,
            disable_nhwc_to_nchw=disable_nhwc_to_nchw,
            freeze_placeholder_with_value=freeze_placeholder_with_value,
        ),
        on_progress=console.say,
    )
    document = made.document()

    def show() -> None:
        from thorax.report.optimize import artifact_table, ports_table

        console.show(ports_table(document), artifact_table([document]))
        print(f"made: {made.xml} and {made.xml.with_suffix('.bin').name}")
        print(f"next: thorax optimize {made.xml} {made.hint()} --out {made.xml.stem}.artifact")

    console.emit(document, as_json=json, show=show)
