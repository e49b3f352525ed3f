"""Names of the layers of a graph, no two alike."""

import openvino as ov


def distinct_names(model: ov.Model) -> dict[str, str]:
    """Return by its inner name what each node of a graph is called, no two alike.

    Frontends give one friendly name to several nodes; in the order of execution the first has it as
    it is and those after it have a number behind it.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for node in model.get_ordered_ops():
        name = plain = str(node.get_friendly_name())
        number = 1
        while name in taken:
            number += 1
            name = f"{plain}#{number}"
        names[str(node.get_name())] = name
        taken.add(name)
    return names
