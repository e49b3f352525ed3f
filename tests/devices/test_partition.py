"""Who runs what, why, and what crosses; as HETERO really does it."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from networks import NETWORKS, Builder

from thorax.devices.counters import CounterTotals
from thorax.devices.partition import assign, partition, set_apart
from thorax.devices.placement import Placement, compile_placed, place
from thorax.errors import DeviceError
from thorax.fpga.card import erase
