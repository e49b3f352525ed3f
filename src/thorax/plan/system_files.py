"""Clusters by name, from TOML files, and from what a doctor measured; titles tell of files."""

import difflib
from pathlib import Path
from typing import Any, Final

from thorax.config import FileOrigin, FileState, check, file_origin, load
from thorax.errors import DataError, UsageError
from thorax.files.documents import document_digest, parse_json, read_limited
from thorax.plan.file_claims import Shipped, judge, marked
from thorax.plan.published import ready
from thorax.plan.ranges import computing
from thorax.plan.systems import Published, System
from thorax.results.cluster import ClusterDiagnosis

_FOLDER: Final = Path(__file__).parent / "systems"

_NO_LINK: Final = (
    "between: assumed: none; all ranks were of one host, so no link of it was measured"
)


def list_systems() -> tuple[str, ...]:
    """Return the names of the systems that come with Thorax."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def find_system(text: str) -> System:
    """Return the system of a name or of a TOML file.

    Raises:
        UsageError: `plan-system` for a name that is none, with the nearest; as `config.load` of a
            file.
    """
    if text.endswith(".toml"):
        return _read(Path(text))
    names = list_systems()
    if text not in names:
        near = difflib.get_close_matches(text, names, n=1, cutoff=0.0)[0]
        raise UsageError(
            "plan-system",
            f"system is {text!r}; the nearest is {near}; allowed are {', '.join(names)} or a "
            ".toml file",
        )
    return load(_FOLDER / f"{text}.toml", System)


def _read(path: Path) -> System:
    """Return the system of a file; its title and sources say what the file is."""
    system, origin = load(path, System), file_origin(path, "thorax plan cluster")
    with computing(system.name):
        solved = ready(system)
    # What was planned is written without them.
    aside = {"models", "published"} if not (system.models or system.published) else set()
    shipped = Shipped(list_systems(), _solved, "title", aside=frozenset(aside))
    claims = judge(solved, origin, shipped)
    known = find_system(claims.shipped).published if claims.shipped else ()
    return system.model_copy(
        update={
            "title": marked(system.title, claims.mark),
            "sources": claims.sources,
            "published": tuple(
                row if row in known else _said(row, origin.name) for row in system.published
            ),
        }
    )


def _solved(name: str) -> System:
    return ready(find_system(name))


def _said(row: Published, name: str) -> Published:
    """Return a published row that the file of a name says was published, and nobody else."""
    source = f"said by {name}: {row.source.removeprefix(f'said by {name}: ')}"
    return row.model_copy(update={"source": source})


def read_doctor(path: Path) -> System:
    """Return the system that `thorax doctor cluster --json` measured.

    Ranks and links are as fitted there: one kind of link, gradients in even buckets, as its own
    model has them. Ranks of one host measured no link between nodes, and the system has none. It
    measured no power and no reading of images.

    Raises:
        DataError: `plan-calibration` for a file that is no such document, or one of one rank,
            which has measured no link.
    """
    try:
        document = parse_json(read_limited(path))
        diagnosis = ClusterDiagnosis.read(document)
        table = _measured(diagnosis, path.name)
    except OSError as error:
        raise DataError(
            "plan-calibration",
            f"{path} cannot be read: {error.strerror}; save what `thorax doctor cluster --json` "
            "prints, and give that file",
        ) from error
    except (ArithmeticError, ValueError) as error:
        raise DataError(
            "plan-calibration",
            f"{path} is no document of `thorax doctor cluster --json` of this version; run it "
            "again and save what it prints",
        ) from error
    if diagnosis.sha256 and diagnosis.sha256 != document_digest(document):
        raise DataError(
            "plan-calibration",
            f"{path} was changed since `thorax doctor cluster --json` printed it: its sha256 is "
            "another; run it again and save what it prints",
        )
    if diagnosis.alpha_s is None:
        raise DataError(
            "plan-calibration",
            f"{path} is of one rank, which has no link; run `thorax doctor cluster --json` with "
            "two or more under torchrun",
        )
    return check(table, System, str(path))


def _measured(diagnosis: ClusterDiagnosis, name: str) -> dict[str, Any]:
    step, hosts = diagnosis.step, [rank.host for rank in diagnosis.ranks]
    link = {"alpha_s": diagnosis.alpha_s, "beta_bytes_per_s": diagnosis.beta_bytes_per_s}
    pass_s = step.forward_s + step.backward_s
    apart = len(set(hosts)) > 1
    links = "within, between" if apart else "within"
    state: FileState = "as written" if diagnosis.sha256 else "unsigned"
    origin = FileOrigin(name, state, "without a digest, so it may have been edited")
    measured = (
        f"images_per_s, forward_share, jitter, {links}: measured: {name}, "
        f"{diagnosis.topology} at {diagnosis.side} px in {diagnosis.precision}"
    )
    return {
        "name": name,
        "title": f"{len(hosts)} ranks as measured by thorax doctor cluster{origin.mark}",
        "reference": diagnosis.topology,
        "images_per_s": 1 / pass_s,
        "forward_share": step.forward_s / pass_s,
        "jitter": step.jitter,
        "ranks_per_node": max(map(hosts.count, hosts)),
        "within": link,
        **({"between": link} if apart else {}),
        "gradient_bytes": float(step.gradient_bytes),
        "bucket_mb": step.gradient_bytes / step.buckets / 2**20,
        "even": True,
        "images_per_pass": step.images,
        "batch_per_worker": float(diagnosis.images),
        "sources": [
            *(origin.attribute([measured]) if origin.mark else (measured,)),
            *(() if apart else (_NO_LINK,)),
            "images, epochs: assumed",
        ],
    }
