"""Servers from benchmarks of this computer, from the model of a card, and from given constants."""

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino as ov
from pydantic import ValidationError

from thorax.config import apply, check, file_origin, load
from thorax.devices.card_model import Offload, find_offloads, model_offload
from thorax.devices.partition import partition, set_apart
from thorax.errors import DataError, UsageError
from thorax.files.documents import document_digest, parse_json, read_limited
from thorax.fpga.architecture import Architecture
from thorax.fpga.bitstreams import BITSTREAMS, Bitstream
from thorax.fpga.boards import IDLE_W, Board, board_power, draw
from thorax.fpga.card import FpgaCard
from thorax.fpga.card import program as put
from thorax.fpga.overlay import estimate
from thorax.fpga.workload import WorkloadLayer, describe
from thorax.plan.file_claims import Shipped, changed_title, judge, marked
from thorax.plan.ranges import before_changed, key_of, overlap, require_no_sources, value_at
from thorax.plan.server import (
    PRESETS,
    CardModel,
    CpuModel,
    Place,
    Server,
    Step,
    card_rate,
    find_preset,
)
from thorax.results.benchmark import BenchmarkResult
from thorax.results.energy import PowerResult
from thorax.results.shared import Modelled

_PLACES: Final[Mapping[str, Place]] = {
    "preprocess": "host",
    "to DDR": "link-in",
    "execute": "card",
    "from DDR": "link-out",
    "postprocess": "host",
}
"""Where the stages of `thorax.devices.card_model` happen."""

_STEPS: Final[tuple[Place, ...]] = ("host", "link-in", "card", "link-out", "host", "host")
"""Where the six steps of a subgraph on a card happen."""

_DEVICE: Final = "FPGA.0"

_SEES: Final[Mapping[str, str]] = {
    "redfish": "server",
    "ipmi": "server",
    "racadm": "server",
    "rapl": "package",
    "model": "model",
}
"""What meters measure, by the first word of what `thorax benchmark` says of them, else "other"."""

_OVERLAY: Final = re.compile(r", cards modelled on [^ ,]+(?=, changed by --set$|$)")
"""In the name of a server; where a file's mark follows it stays, as it may be the server's."""

_DERIVED: Final[Mapping[str, tuple[str, ...]]] = {
    "base_w": ("cpu.power_w",),
    "cpu.images_per_s": ("card.steps", "card.batch"),
    "cpu.streams": ("cpu.images_per_s", "speedup", "card.steps"),
    "cpu.idle_w": ("base_w", "cpu.power_w", "speedup", "card.power_w"),
    "card.requests": ("card.steps",),
    "card.power_w": ("card.steps", "card.batch"),
    "card.idle_w": ("card.power_w",),
}
"""What constants are derived from, where they are of `_SOFT` kinds."""

_SOFT: Final = ("derived", "assumed", "calibrated", "modelled")
"""Kinds of sources that reason from other constants; one measured or published stands by itself."""

_OF_NETWORK: Final = {
    "cpu": ("cpu.streams", "cpu.power_w", "cpu.idle_w"),
    "card": ("card.power_w", "card.idle_w"),
}
"""What else than rates is of a network, on the CPU and on cards."""

_UNITS: Final = {"_w": " W", "images_per_s": " images/s"}
"""By the end of a key."""

_REPLAYED: Final = re.compile(r"replay: .*? \((.*)\)")
_MIXED: Final = re.compile(r"(.*) on the CPU, (.*) on cards")


def read_server(path: Path) -> Server:
    """Return the server of a TOML file; its name and its sources say what the file is.

    Raises:
        UsageError: as `thorax.config.load`.
    """
    server = load(path, Server)
    origin = file_origin(path, "thorax plan server")
    shipped = Shipped(PRESETS, find_preset, "full_name")
    claims = judge(server, origin, shipped)
    return server.model_copy(
        update={
            "full_name": marked(server.full_name, claims.mark),
            "sources": claims.sources,
        }
    )


def with_benchmark(server: Server, path: Path) -> Server:
    """Return a server whose CPU or card is that of what `thorax benchmark --json` printed.

    A benchmark on the CPU gives rate and streams, and the watts of the whole computer if it had a
    meter; one with a simulated card gives the card's stages, as modelled, those of other devices as
    measured. Watts of a meter at the supply are of the whole computer; those of any other leave
    out what it does not see, so that `base_w` is not known.

    Raises:
        DataError: `plan-measured-unreadable` for a file that is no JSON, `plan-measured-damaged`
            for one that was changed since it was printed, `plan-measured-value` for a benchmark
            that lacks a value, or has one that cannot be.
        UsageError: `plan-measured` for what is no offline benchmark of a CPU or a card.
    """
    try:
        benchmark = _read_benchmark(path)
        if benchmark.scenario != "offline":
            raise _refuse(path, f"is of the scenario {benchmark.scenario!r}")
        if benchmark.valid is False:
            raise _refuse(path, "says that it is not valid")
        if benchmark.modelled is not None:
            return _with_card(server, benchmark, benchmark.modelled, path)
        if benchmark.device != "CPU" or benchmark.simulated:
            raise _refuse(path, f"is of the device {benchmark.device!r}")
        return _with_cpu(server, benchmark, path)
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            "plan-measured-value",
            f"{path} lacks a value of a benchmark, or has one that cannot be: {_problem(error)};"
            " measure again with thorax benchmark --json",
        ) from error


def _read_benchmark(path: Path) -> BenchmarkResult:
    try:
        document = parse_json(read_limited(path))
    except (OSError, ValueError) as error:
        raise DataError(
            "plan-measured-unreadable",
            f"{path}: {getattr(error, 'strerror', None) or error}; give a file that thorax "
            "benchmark --json wrote",
        ) from error
    if not isinstance(document, dict) or document.get("command") != "benchmark":
        raise _refuse(path, "is no benchmark")
    if document.get("sha256") != document_digest(document):
        raise DataError(
            "plan-measured-damaged",
            f"{path} is not what thorax benchmark --json printed (its sha256 is missing or "
            "another); measure again",
        )
    return BenchmarkResult.read(document)


def _refuse(path: Path, why: str) -> UsageError:
    return UsageError(
        "plan-measured",
        f"{path} {why}; give offline benchmarks with -d CPU, or with one card as FPGA.0 or"
        " HETERO:FPGA.0,CPU",
    )


def _problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "it"
        if first["type"] == "missing":
            return f"no {key!r}"
        return f"{key} of {first['input']!r}: {first['msg']}"
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _with_cpu(server: Server, benchmark: BenchmarkResult, path: Path) -> Server:
    """Return a server with the CPU of a benchmark; unmeasured watts are unknown."""
    power = benchmark.power or PowerResult(modelled=False)
    meter = benchmark.energy_source
    kind = _REPLAYED.sub(r"\1", meter).partition(":")[0]
    scope = _SEES.get(kind.strip(), "other")
    # The watts of a graphics card are none of a CPU.
    watts, idle_w = (None, None) if scope == "other" else (benchmark.power_w, power.idle_w)
    cpu = CpuModel(
        images_per_s=benchmark.images_per_s,
        streams=benchmark.streams or 1,
        power_w=watts,
        idle_w=idle_w,
    )
    sources = [f"{key}: measured: {path.name}" for key in ("cpu.images_per_s", "cpu.streams")]
    kind = "replayed" if power.replayed else "measured"
    if power.modelled or scope == "model":
        kind = "modelled"
    if watts is not None:
        sources += [
            f"{key}: {kind}: {path.name}, {meter}"
            for key, value in (("cpu.power_w", watts), ("cpu.idle_w", idle_w))
            if value is not None
        ]
    whole = watts is not None and scope == "server"
    if whole:
        sources.append(f"base_w: {kind}: within cpu.power_w, {path.name}, {meter}")
    return _changed(
        server, sources, ("cpu.", "base_w", "speedup"),
        network=_mixed(server, cpu=benchmark.model), cpu=cpu, speedup=None,
        base_w=0.0 if whole else None,
    )  # fmt: skip


def _mixed(server: Server, *, cpu: str | None = None, card: str | None = None) -> str:
    """Return the name of a server's network where that of its CPU or of its cards changes.

    Both are named where they differ, as the sum of their rates is then of neither.
    """
    old_cpu, old_card = _networks(server)
    on_cpu, on_cards = cpu or old_cpu, card or old_card
    if server.card is None and card is None:
        return on_cpu
    if _plain(on_cpu) == _plain(on_cards):
        return on_cpu
    return f"{on_cpu} on the CPU, {on_cards} on cards"


def _networks(server: Server) -> tuple[str, str]:
    """Return what the CPU of a server computes, and what its cards do."""
    names = _MIXED.fullmatch(server.network)
    return (names[1], names[2]) if names else (server.network, server.network)


def _plain(network: str) -> str:
    return "".join(filter(str.isalnum, network)).lower()


def _with_card(server: Server, benchmark: BenchmarkResult, cards: Modelled, path: Path) -> Server:
    """Return a server with the card of a benchmark: its stages as modelled."""
    batch = benchmark.batch or 1
    steps, names = [], set()
    for stage in cards.stages:
        name, _, what = stage.name.partition(" ")
        names.add(name)
        steps.append(Step(place=_PLACES[what], image_s=stage.time_s / batch))
    others = cards.plus_measured
    if others is not None:
        steps.append(Step(place="host", image_s=others.stage_s / batch))
    if len(names) != 1:
        raise _refuse(path, f"is of {len(names)} cards")
    if cards.power_w is None:
        raise _refuse(path, "says nothing of the watts of its card")
    # Requests enough to keep every place busy: one a step.
    card = CardModel(name=f"{names.pop()} of {path.name}", steps=tuple(steps), batch=batch,
                     requests=max(4, len(steps)), power_w=cards.power_w)  # fmt: skip
    sources = [
        f"card.steps: modelled: {path.name}",
        *(
            [f"card.steps.others: measured: {path.name}, layers of other devices"]
            if others is not None
            else []
        ),
        f"card.power_w: modelled: {path.name}: {cards.source}",
    ]
    if batch > 1:
        sources.append("card.steps.batch_s: assumed: none, as only full batches were measured")
    return _with(server, card, sources, benchmark.model)


def with_overlay(
    server: Server,
    name: str,
    model: ov.Model,
    board: Board,
    overlay: Bitstream | Architecture,
    state: Path,
    *,
    batch: int = 1,
    others_s: float | None = None,
) -> Server:
    """Return a server whose card is that of the cycle model, for a network.

    All but the card is that of `server`. Layers of the model are renamed where two share a name. An
    overlay is a bitstream, which computes the layers that it can, each subgraph in its turn, or an
    architecture, which is taken to compute all of them; the state of a card of one's own is written
    to the file `state`. An image takes `others_s` in the layers that stay on the CPU; None: not
    counted.

    Raises:
        UsageError: `plan-power` where nothing is published of the watts of the board.
        DeviceError: as `partition`.
    """
    set_apart(model)
    if isinstance(overlay, Bitstream):
        architecture = overlay.architecture
        layers, steps = _offloaded(model, board, overlay, state, batch)
    else:
        architecture = overlay
        layers = tuple(describe(model))
        alone, full = (_whole(model, layers, overlay, board, count) for count in (1, batch))
        steps = _steps(alone, full, batch)
    if others_s:
        steps.append(Step(place="host", image_s=others_s))
    card, power_source = _card(board, architecture, layers, steps, batch)
    sources = [
        f"card.steps: modelled: {name} on {architecture.name}, cycle model of docs/fpga.md",
        f"card.power_w: modelled: {power_source}",
        *([] if card.idle_w is None else ["card.idle_w: calibrated: as card.power_w"]),
        f"card.requests: derived: one for each of {len(steps)} steps",
    ]
    if others_s is None and isinstance(overlay, Bitstream):
        sources.append("card.steps.others: assumed: layers that stay on the CPU take no time")
    elif others_s:
        sources.append("card.steps.others: as given")
    named = f", cards modelled on {architecture.name}"
    return _with(server, card, sources, name, named)


def _offloaded(
    model: ov.Model, board: Board, bitstream: Bitstream, state: Path, batch: int
) -> tuple[tuple[WorkloadLayer, ...], list[Step]]:
    cards = {
        card.name: card for card in put(_DEVICE, bitstream.name, board=board.name, state=state)
    }
    split = partition(model, f"HETERO:{_DEVICE},CPU", state=state)
    offloads = find_offloads(model, split, cards)
    steps: list[Step] = []
    for offload in offloads:
        alone, full = (model_offload(offload, batch=count).steps_s for count in (1, batch))
        steps += _steps(alone, full, batch)
    return tuple(layer for offload in offloads for layer in offload.layers), steps


def _card(
    board: Board,
    architecture: Architecture,
    layers: Sequence[WorkloadLayer],
    steps: list[Step],
    batch: int,
) -> tuple[CardModel, str | None]:
    """Return a card with the watts of its board at full load, and where these are from."""
    card = CardModel(name=board.full_name, steps=tuple(steps), batch=batch,
                     requests=max(4, len(steps)), power_w=1.0)  # fmt: skip
    drawn = draw(board, architecture, sum(layer.macs for layer in layers) * card_rate(card))
    if drawn.power_w is None:
        raise UsageError(
            "plan-power",
            f"nothing is published of the watts of {board.name} under load; plan with --file and"
            " card.power_w",
        )
    idle_w = None if board_power(board, architecture, 0.0) is None else IDLE_W
    return card.model_copy(update={"power_w": drawn.power_w, "idle_w": idle_w}), drawn.source


def _steps(alone_s: tuple[float, ...], full_s: tuple[float, ...], batch: int) -> list[Step]:
    """Return steps whose times are those of one image and of a full batch.

    Between both they are on a line: what is done once a batch, weights that are loaded and what a
    start takes, costs a batch of one image as much. Where a full batch takes more than as many of
    one image, or less than one of them, a line would begin or go below 0: then all of it is of
    the images, or of the batch.
    """
    steps = []
    for place, first_s, all_s in zip(_STEPS, alone_s, full_s, strict=True):
        image_s = all_s if batch == 1 else max(0.0, (all_s - first_s) / (batch - 1))
        image_s = min(image_s, all_s / batch)
        steps.append(Step(place=place, image_s=image_s, batch_s=all_s - batch * image_s))
    return steps


def _whole(
    model: ov.Model,
    layers: tuple[WorkloadLayer, ...],
    overlay: Architecture,
    board: Board,
    batch: int,
) -> tuple[float, ...]:
    """Return the six steps of a whole network on an architecture, seconds of a batch."""
    # Host and link are the same under any bitstream; one stands in where none holds this overlay.
    holder = FpgaCard(_DEVICE, board, next(iter(BITSTREAMS.values())), None)
    given, answered = (
        tuple(int(np.prod(list(port.get_shape())[1:])) for port in ports)
        for ports in (model.inputs, model.outputs)
    )
    steps_s = list(model_offload(Offload(0, holder, layers, given, answered), batch=batch).steps_s)
    steps_s[_STEPS.index("card")] = estimate(layers, overlay, batch=batch).latency_s
    return tuple(steps_s)


def _with(
    server: Server, card: CardModel, sources: list[str], network: str, named: str = ""
) -> Server:
    """Return a server with another card; of a ratio that was published of the old, no rate.

    What is `named` of the card stands behind the server's name.
    """
    if server.speedup is not None:
        raise UsageError(
            "plan-cpu-rate",
            f"the CPU's rate of {server.name} follows from its own cards; measure it"
            " (--measured), or give --set cpu.images_per_s=N",
        )
    return _changed(
        server, sources, ("card.",), card=card, network=_mixed(server, card=network),
        full_name=before_changed(_OVERLAY.sub("", server.full_name), named),
    )  # fmt: skip


def changed(server: Server, settings: Sequence[str]) -> Server:
    """Return a server with other constants, each `key=value`.

    Their sources are the command line, and the name of the server says that it was changed. What
    was derived from constants that are set, or is of another network, stays and is called assumed.

    Raises:
        UsageError: as `thorax.config.load`; `plan-network` for another network without its rates.
    """
    if not settings:
        return server
    table = server.model_dump(mode="json", exclude_none=True)
    for setting in settings:
        apply(table, setting)
    keys = tuple(key_of(setting) for setting in settings)
    require_no_sources(keys)
    if "cpu.images_per_s" in keys and any(key.partition(".")[0] == "speedup" for key in keys):
        raise UsageError(
            "plan-cpu-rate",
            "cpu.images_per_s and speedup are both set, and the CPU's rate follows from a speedup;"
            " set one of them",
        )
    replaced, given = list(keys), [f"{key}: given: --set" for key in keys]
    if "cpu.images_per_s" in keys:
        # A rate that is given takes the place of the ratio that it would follow from.
        table.pop("speedup", None)
        replaced.append("speedup")
    if isinstance(table["full_name"], str):
        table["full_name"] = changed_title(
            table["full_name"], server.full_name, given="full_name" in keys
        )
    made = check(table, Server, server.name)
    others = _other_networks(server, made)
    _require_rates(made, others, keys)
    stays = {**_underived(server, made, keys), **_of_others(server, others, keys)}
    replaced += stays
    # What is said of a key is said of its parts too, and of the whole that it is a part of.
    wholes = [key.rpartition(".")[0] for key in replaced]
    stale = tuple(
        f"{key}{end}"
        for key, end in (*product(replaced, ":."), *product(filter(None, wholes), ":"))
    )
    sources = [source for source in server.sources if not source.startswith(stale)]
    return made.model_copy(update={"sources": (*sources, *given, *stays.values())})


def _other_networks(server: Server, made: Server) -> tuple[str, ...]:
    """Return which of cpu and card compute another network than before."""
    parts = ("cpu",) if made.card is None else ("cpu", "card")
    return tuple(
        part
        for part, old, new in zip(("cpu", "card"), _networks(server), _networks(made), strict=True)
        if part in parts and _plain(old) != _plain(new)
    )


def _require_rates(made: Server, others: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse another network, of CPU or cards, whose rates are not set with it."""
    needed = {"cpu": ("cpu.images_per_s", "speedup.ratio"), "card": ("card.steps",)}
    lacking = [
        " or ".join(needed[part])
        for part in others
        if not any(overlap(key, rate) for key in keys for rate in needed[part])
    ]
    if lacking:
        raise UsageError(
            "plan-network",
            f"--set network makes the rates of {made.name} those of {made.network!r}, which they "
            f"were not measured or published of; set {' and '.join(lacking)} too, or let "
            "--measured and --model give rates and name",
        )


def _underived(server: Server, made: Server, keys: Sequence[str]) -> dict[str, str]:
    """Return sources of what was derived from constants that are set, and stays as it was."""
    stays = {}
    for follower, origins in _DERIVED.items():
        kind = _kind(server, follower)
        if kind not in _SOFT or any(overlap(key, follower) for key in keys):
            continue
        causes = [key for key in keys if any(overlap(key, origin) for origin in origins)]
        if server.speedup is not None and made.speedup is None and "speedup" in origins:
            causes = list(dict.fromkeys([*causes, "cpu.images_per_s"]))
        if causes:
            stays[follower] = _stays(server, follower, causes)
    return stays


def _of_others(server: Server, others: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """Return sources of what is known of another network than CPU or cards compute, and stays."""
    return {
        key: _stays(server, key, ["network"])
        for part in others
        for key in _OF_NETWORK[part]
        if _value(server, key) is not None and not any(overlap(each, key) for each in keys)
    }


def _stays(server: Server, key: str, causes: Sequence[str]) -> str:
    unit = next((unit for end, unit in _UNITS.items() if key.endswith(end)), "")
    are = "is" if len(causes) == 1 else "are"
    value = f"{_value(server, key):g}{unit}"
    return f"{key}: assumed: stays {value}, although {' and '.join(causes)} {are} given"


def _value(server: Server, key: str) -> float | None:
    value = value_at(server, key)
    return value if isinstance(value, int | float) else None


def _kind(server: Server, key: str) -> str:
    """Return what kind of source a number has, as "derived"; "" of one without, or of none."""
    if _value(server, key) is None:
        return ""
    texts = [text for text in server.sources if text.startswith(f"{key}: ")]
    return texts[-1].removeprefix(f"{key}: ").partition(":")[0] if texts else ""


def _changed(
    server: Server,
    sources: list[str],
    replaced: tuple[str, ...],
    **update: Any,  # noqa: ANN401 - fields of a server
) -> Server:
    """Return a server with other fields, whose sources take the place of those that began so."""
    others = [source for source in server.sources if not source.startswith(replaced)]
    changed = server.model_copy(update={**update, "sources": (*others, *sources)})
    return check(changed.model_dump(mode="json", exclude_none=True), Server, server.name)
