"""Names of the layers of a graph whose frontend gave one name to several."""

import numpy as np
import openvino as ov
import openvino.opset13 as ops

from thorax.fpga.names import distinct_names


def test_the_first_of_a_name_has_it_and_those_after_it_a_number() -> None:
    image = ops.parameter([1, 2], np.float32, name="image")
    node = image
    for name in ("pool", "pool#2", "pool", "pool"):
        node = ops.relu(node)
        node.set_friendly_name(name)
    model = ov.Model([node], [image])
    names = [distinct_names(model)[one.get_name()] for one in model.get_ordered_ops()]
    assert names[:-1] == ["image", "pool", "pool#2", "pool#3", "pool#4"]
    assert len(set(names)) == len(names)
