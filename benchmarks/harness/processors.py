"""Processors of results: classes by their instructions, and machines that are told apart."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final

_GENERATIONS: Final[Mapping[tuple[str, int, int], str]] = MappingProxyType(
    {
        ("AuthenticAMD", 23, 49): "Zen 2",
        ("AuthenticAMD", 25, 1): "Zen 3",
        ("AuthenticAMD", 25, 17): "Zen 4",
        ("AuthenticAMD", 26, 2): "Zen 5",
        ("GenuineIntel", 6, 85): "Skylake or Cascade Lake",
        ("GenuineIntel", 6, 106): "Ice Lake",
        ("GenuineIntel", 6, 143): "Sapphire Rapids",
        ("GenuineIntel", 6, 173): "Granite Rapids",
        ("GenuineIntel", 6, 207): "Emerald Rapids",
    }
)
"""Names of server processors by vendor, family and model, as the Linux kernel has them (arch/x86).

Clouds hide the name of a model behind "AMD EPYC", whatever its speed."""


class Processors(IntEnum):
    """Classes of processors whose speeds are not compared, by what their instructions can do."""

    NONE = 0
    OTHER = 1
    AVX2 = 2
    AVX512 = 3
    VNNI = 4
    BF16 = 5
    AMX = 6

    @property
    def title(self) -> str:
        """Return the words of a table's head."""
        return (
            "computed",
            "instructions unknown",
            "AVX2 only",
            "AVX-512 without VNNI",
            "VNNI",
            "VNNI and BF16",
            "AMX",
        )[self]

    @classmethod
    def of(cls, instructions: Iterable[str] | None) -> "Processors":
        """Return the class of a processor with these flags of the Linux kernel.

        None is for what depends on no processor; without flags, and with others than are known, as
        on ARM, the instructions are unknown.
        """
        if instructions is None:
            return cls.NONE
        known = set(instructions)
        if known & {"amx_int8", "amx_bf16"}:
            return cls.AMX
        if known & {"avx512_vnni", "avx_vnni"}:
            return cls.BF16 if "avx512_bf16" in known else cls.VNNI
        if "avx512f" in known:
            return cls.AVX512
        return cls.AVX2 if "avx2" in known else cls.OTHER


@dataclass(frozen=True, order=True, slots=True)
class Machine:
    """What machines are told apart by: runs of one are repeats of each other.

    Attributes:
        kind: class of the processors.
        name: of them in few words, "EPYC (Zen 4)".
        processors: how many; 0 of what depends on none.
    """

    kind: Processors
    name: str
    processors: int

    @classmethod
    def of(cls, hardware: Mapping[str, Any] | None) -> "Machine":
        """Return the machine of the `hardware` of a result; of None, what depends on none."""
        if not hardware:
            return cls(Processors.NONE, "", 0)
        cpu = str(hardware.get("cpu", "unknown"))
        words = re.sub(r"\(R\)|\b(?:Intel|AMD|Processor|CPU)\b", "", cpu).split()
        name = " ".join(words[:2]) or cpu
        facts = hardware.get("vendor"), hardware.get("family"), hardware.get("model")
        if None not in facts:
            told = f"family {facts[1]}, model {facts[2]}"
            name += f" ({_GENERATIONS.get(facts, told)})"  # type: ignore[arg-type]
        else:
            name += " (generation not recorded)"
        kind = Processors.of(hardware["instructions"])
        return cls(kind, name, int(hardware.get("processors", 0)))

    @property
    def title(self) -> str:
        """Return the words of a table's head: "EPYC (Zen 4) with VNNI and BF16, 2 processors"."""
        if self.kind is Processors.NONE:
            return self.kind.title
        plural = "" if self.processors == 1 else "s"
        return f"{self.name} with {self.kind.title}, {self.processors} processor{plural}"
