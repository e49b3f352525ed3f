"""Result of `thorax partition`: a split of a network with the modelled time of its cards."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from thorax.devices.card_model import Offload, OffloadTime, forecast, model_offload
from thorax.devices.partition import Partition
from thorax.results.partition import Crossings, PartitionResult, PlacedLayer, SubgraphSummary

_PORTS: Final = ("Parameter", "Result")


def partition_result(
    model: str,
    devices: Sequence[str],
    split: Partition,
    offloads: Sequence[Offload],
    *,
    outputs: Mapping[str, str],
) -> PartitionResult:
    """Return what `thorax partition` answers.

    The network is called `model`; of the devices that were asked for the first is preferred.
    Offloads are what simulated cards run of it, `outputs` what the network calls each of its
    results, by the name of its node.
    """
    times = [model_offload(offload) for offload in offloads]
    busy = {subgraph.device for subgraph in split.subgraphs}
    return PartitionResult(
        model=model,
        device=split.device,
        devices=tuple(devices),
        idle=tuple(device for device in devices if device not in busy),
        simulated=bool(offloads),
        subgraphs=_subgraphs(split, times, outputs),
        layers=tuple(_layers(split, times)),
        crossings=Crossings(
            before=split.crossings_before,
            after=len(split.crossings),
            bytes=sum(crossing.size_bytes for crossing in split.crossings),
            tensors=split.crossings,
        ),
        modelled=forecast(offloads) if offloads else None,
    )


def _subgraphs(
    split: Partition, times: Sequence[OffloadTime], outputs: Mapping[str, str]
) -> tuple[SubgraphSummary, ...]:
    times_s = {part.offload.number: part.total_s for part in times}
    summaries = []
    for subgraph in split.subgraphs:
        rows = [row for row in split.rows if row.subgraph == subgraph.number]
        summaries.append(
            SubgraphSummary(
                number=subgraph.number,
                device=subgraph.device,
                layers=len(subgraph.layers),
                types=dict(Counter(row.type for row in rows if row.type not in _PORTS)),
                inputs=tuple(row.name for row in rows if row.type == "Parameter"),
                outputs=tuple(outputs[row.name] for row in rows if row.type == "Result"),
                input_bytes=subgraph.input_bytes,
                output_bytes=subgraph.output_bytes,
                modelled_s=times_s.get(subgraph.number),
            )
        )
    return tuple(summaries)


def _layers(split: Partition, times: Sequence[OffloadTime]) -> Iterator[PlacedLayer]:
    times_s: dict[str, float] = {}
    runs_with: dict[str, str] = {}
    for part in times:
        for estimate in part.estimate.layers:
            layer = estimate.layer
            times_s[layer.name] = estimate.cycles / part.estimate.architecture.clock_hz
            runs_with.update(dict.fromkeys(layer.fused, layer.name))
    for row in split.rows:
        if row.type not in _PORTS:
            modelled = {"runs_with": runs_with.get(row.name), "modelled_s": times_s.get(row.name)}
            yield row.model_copy(update=modelled)
