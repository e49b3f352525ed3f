"""The plan of an archive: what computes what, so that two runs of one plan have the same answers.

It is `archive.json`, with a digest of itself in it, and every shard names it by that digest.
"""

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import openvino as ov

from thorax import __version__
from thorax.devices.engine import Engine
from thorax.devices.extensions import Extension
from thorax.errors import DataError, UsageError
from thorax.files.atomic import sha256
from thorax.files.documents import document_digest, parse_json, read_limited
from thorax.inference.sources import Source, StoredImage, ZippedImage, file_of

FORMAT: Final = 2
_DIGEST: Final = "sha256"
_WORDS: Final = {
    "card": "the model",
    "devices": "the devices that execute",
    "compute": "what is computed in",
    "cards": "what a card computes with",
    "extensions": "--extension",
    "inputs": "the list of inputs",
    "stores": "the stores",
    "shard_size": "--shard-size",
}
"""What people call the fields of a plan whose names do not say it."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Whatever may change a bit of an answer.

    `card` is the `answers_digest` of the artifact's card, which has those of its graph and weights,
    and the precision the artifact's. `devices` are the physical ones that execute the device
    string; `compute` is what floating-point layers are computed in, read back from them, `cards`
    what each simulated card computes with, bitstream and version of the emulation. Of extensions it
    is the SHA-256 of the file of each custom layer, in their order.
    """

    card: str
    precision: str
    device: str
    devices: tuple[str, ...]
    compute: str
    cards: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()
    openvino: str = ov.__version__
    thorax: str = __version__


def arithmetic(engine: Engine, extensions: Iterable[Extension] = ()) -> Arithmetic:
    """Return what an engine computes with: as it was compiled, whatever cards became since."""
    card = engine.artifact.card
    return Arithmetic(
        card=card.answers_digest,
        precision=card.precision.value,
        device=engine.device,
        devices=engine.devices,
        compute=engine.compute,
        cards=dict(engine.cards),
        extensions=tuple(map(extension_digest, extensions)),
    )


def extension_digest(extension: Extension) -> str:
    """Return the SHA-256 of the library or of the Python file that computes a custom layer.

    What that file imports is not looked at. A class that has no file has its name for a digest.
    """
    if extension.library is not None:
        return sha256(extension.library)
    assert extension.layer is not None
    try:
        source = inspect.getsourcefile(extension.layer)
    except TypeError:
        source = None
    return sha256(Path(source)) if source else extension.layer.__qualname__


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run on what.

    `inputs` is the SHA-256 of the list of inputs, so many images, `stores` that of the tables of
    the stores in it, and relative names are relative to `folder`; None where there are none. A
    shard has `shard_size` inputs; the last may have fewer.
    """

    arithmetic: Arithmetic
    images: int
    inputs: str
    stores: str | None
    folder: str | None
    shard_size: int

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return -(-self.images // self.shard_size)

    def document(self) -> dict[str, Any]:
        """Return it as `archive.json` has it, digest included."""
        rest = {part.name: getattr(self, part.name) for part in fields(self)[1:]}
        plain = {"format": FORMAT, **asdict(self.arithmetic), **rest}
        # As it comes back from a file: lists in place of tuples.
        plain = json.loads(json.dumps(plain))
        return {**plain, _DIGEST: document_digest(plain, _DIGEST)}

    @property
    def digest(self) -> str:
        """SHA-256 of the plan."""
        return str(self.document()[_DIGEST])

    def text(self) -> str:
        """Return the text of `archive.json`."""
        return json.dumps(self.document(), indent=2) + "\n"


def make_plan(
    computes: Arithmetic, sources: Sequence[Source], shard_size: int
) -> tuple[Plan, bytes]:
    """Return the plan of a run, and the list of inputs as it is written."""
    lines = [json.dumps(_input(source)) for source in sources]
    listed = ("\n".join(lines) + "\n").encode("ascii")
    stores = dict.fromkeys(source.store for source in sources if isinstance(source, StoredImage))
    tables = "".join(sha256(store / "store.json") for store in stores)
    relative = any(not file_of(source).is_absolute() for source in sources)
    plan = Plan(
        arithmetic=computes,
        images=len(sources),
        inputs=hashlib.sha256(listed).hexdigest(),
        stores=hashlib.sha256(tables.encode()).hexdigest() if stores else None,
        folder=str(Path.cwd()) if relative else None,
        shard_size=shard_size,
    )
    return plan, listed


def read_plan(path: Path) -> dict[str, Any]:
    """Return the document of a plan that was read, verified.

    Raises:
        DataError: `archive-damaged`, `archive-format`.
    """
    try:
        content = read_limited(path)
        document = parse_json(content)
    except (OSError, ValueError) as error:
        raise damaged_plan(path, getattr(error, "strerror", None) or str(error)) from error
    if not isinstance(document, dict):
        raise damaged_plan(path, "it holds no table")
    sound = document.get(_DIGEST) == document_digest(document, _DIGEST)
    # The first format had no digest of itself.
    old = _DIGEST not in document and document.get("format") == 1 and "card" in document
    if old or (sound and document.get("format") != FORMAT):
        raise DataError(
            "archive-format",
            f"{path} is of format {document['format']!r}, of another Thorax, which this one cannot "
            f"verify; allowed is {FORMAT}: give another --out, or remove the folder and run anew",
        )
    # All of the file counts, spelling and blanks too.
    if not sound or (json.dumps(document, indent=2) + "\n").encode() != content:
        raise damaged_plan(path, "its SHA-256 differs")
    return document


def require_same(path: Path, plan: Plan) -> None:
    """Refuse a folder whose plan is another, naming what differs.

    Raises:
        UsageError: `archive-other`.
        DataError: as `read_plan`.
    """
    old = read_plan(path)
    differences: list[str] = []
    for name, here in plan.document().items():
        there = old.get(name)
        if name != _DIGEST and there != here:
            differences += _differences(_WORDS.get(name, name), there, here)
    if differences:
        raise UsageError(
            "archive-other",
            f"{path.parent} has answers of another run, which differs in {', '.join(differences)}; "
            "repeat that run, or give another --out",
        )


def require_cards(engine: Engine, now: Mapping[str, str]) -> None:
    """Refuse to go on when a card was programmed anew since an engine was compiled for it.

    What cards compute with now is as `thorax.devices.arithmetic.arithmetic_of` says it.

    Raises:
        UsageError: `archive-other`, naming the card.
    """
    for name, there in engine.cards.items():
        if now.get(name) != there:
            raise UsageError(
                "archive-other",
                f"{name} was programmed anew during the run ({there} at its begin, "
                f"{now.get(name, 'not there')} now); program it as it was and repeat the command, "
                "or give another --out",
            )


def damaged_plan(path: Path, why: str) -> DataError:
    """Return the error of a plan that is not what was written."""
    return DataError(
        "archive-damaged",
        f"{path} is not what was written: {why}; remove that file and repeat the command that "
        "wrote it: answers that are its own are then used, and others made anew",
    )


def _differences(words: str, there: object, here: object) -> list[str]:
    if isinstance(there, dict) and isinstance(here, dict):
        return [
            f"{words} ({name}: {there.get(name, 'not there')} there, "
            f"{here.get(name, 'not there')} here)"
            for name in sorted({*there, *here})
            if there.get(name) != here.get(name)
        ]
    return [f"{words} ({_short(there)} there, {_short(here)} here)"]


def _short(value: object) -> str:
    parts = value if isinstance(value, list) else [value]
    length = hashlib.sha256().digest_size * 2
    texts = [f"{text[:12]}..." if len(text) == length else text for text in map(str, parts)]
    return " ".join(texts) or "none"


def _input(source: Source) -> dict[str, Any]:
    if isinstance(source, StoredImage):
        return {"store": str(source.store), "number": source.number, "name": source.name}
    if isinstance(source, ZippedImage):
        return {"archive": str(source.archive), "member": source.member}
    return {"file": str(source)}
