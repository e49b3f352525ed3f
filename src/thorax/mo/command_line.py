"""The options of the Model Optimizer's command line, as they are typed."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from typer import Option


@dataclass(frozen=True)
class Flags:
    """A command line of the Model Optimizer; `thorax.mo.flags` reads what its texts say."""

    input_model: Annotated[
        Path | None, Option("--input_model", "-m", "-w", help="Model file, or its weights.")
    ] = None
    model_name: Annotated[
        str | None, Option("--model_name", "-n", help="Of the files; default: as the input.")
    ] = None
    output_dir: Annotated[
        Path, Option("--output_dir", "-o", help="Where NAME.xml and NAME.bin go.")
    ] = Path()
    input_shape: Annotated[
        str | None, Option("--input_shape", help="[1,3,224,224],... in the framework's own layout.")
    ] = None
    batch: Annotated[int | None, Option("--batch", "-b", help="First axis of every input.")] = None
    data_type: Annotated[
        str, Option("--data_type", help="FP16, half, FP32; float is as the model has it.")
    ] = "float"
    mean_values: Annotated[
        str | None, Option("--mean_values", help="(123.68,116.78,103.94) or data(...),...")
    ] = None
    scale_values: Annotated[
        str | None, Option("--scale_values", help="Divide by, after the mean; as --mean_values.")
    ] = None
    scale: Annotated[float | None, Option("--scale", "-s", help="Divide every input by this.")] = (
        None
    )
    reverse_input_channels: Annotated[
        bool, Option("--reverse_input_channels", help="Swap RGB and BGR, before the mean.")
    ] = False
    input: Annotated[
        str | None, Option("--input", help="Begin here: data[1,3,64,64]{u8},0:conv,flag->False.")
    ] = None
    output: Annotated[
        str | None, Option("--output", help="End here: layers or tensors, prob,conv5:0.")
    ] = None
    layout: Annotated[
        str | None, Option("--layout", help="nchw, nhwc->nchw or data(nhwc->nchw),...")
    ] = None
    disable_nhwc_to_nchw: Annotated[
        bool, Option("--disable_nhwc_to_nchw", help="Leave TensorFlow's channels last.")
    ] = False
    input_proto: Annotated[
        Path | None, Option("--input_proto", "-d", help="Caffe's deploy.prototxt.")
    ] = None
    input_symbol: Annotated[Path | None, Option("--input_symbol", help="MXNet's -symbol.json.")] = (
        None
    )
    saved_model_dir: Annotated[
        Path | None, Option("--saved_model_dir", help="TensorFlow SavedModel folder.")
    ] = None
    freeze_placeholder_with_value: Annotated[
        str | None, Option("--freeze_placeholder_with_value", help="As name->value of --input.")
    ] = None
    framework: Annotated[
        str | None, Option("--framework", help="tf, caffe, mxnet, onnx, keras: to be checked.")
    ] = None
    topology: Annotated[
        str | None, Option("--topology", help="Of a PyTorch state dict: a name, module:function.")
    ] = None
    extensions: Annotated[
        list[str] | None,
        Option("--extension", help="Custom layers: a library, module:Class or file.py:Class."),
    ] = None

    def given(self) -> dict[str, str]:
        """Return what differs from the defaults, as text; of paths their last part."""
        texts = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value in (each.default, []):
                continue
            value = tuple(value) if isinstance(value, list) else value
            texts[each.name] = value.name if isinstance(value, Path) else str(value)
        return texts
