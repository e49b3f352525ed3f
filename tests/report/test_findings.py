"""Tables of findings and of devices."""

from thorax.report.findings import devices_table
from thorax.results.findings import DeviceFacts, DeviceList


def test_a_device_says_what_it_computes_in() -> None:
    facts = {"full_name": "", "precisions": ("fp32", "int8")}
    devices = [
        {"name": "CPU", "simulated": False, "arithmetic": None},
        {"name": "FPGA.0", "simulated": True, "arithmetic": "fp11"},
        {"name": "FPGA.1", "simulated": True, "arithmetic": None},
    ]
    table = devices_table(
        DeviceList(tuple(DeviceFacts.model_validate(facts | device) for device in devices))
    )
    assert [(row[0], row[-1]) for row in table.rows] == [
        ("CPU", "fp32, int8"), ("FPGA.0", "fp11"), ("FPGA.1", ""),
    ]  # fmt: skip
    assert table.simulated == (False, True, True)
