"""Tables of what `thorax data check` found in a store, and of what `thorax verify` read."""

from thorax.errors import printable
from thorax.labels import plain_name
from thorax.report.table import Table
from thorax.results.data import CheckResult
from thorax.results.verification import VerificationResult


def check_tables(result: CheckResult) -> list[Table]:
    """Return what `data check` found: leaks and copies where there are any, and label counts."""
    copies = [
        *(("same file", group) for group in result.duplicates),
        *(("near copy", group) for group in result.near_duplicates),
    ]
    splits = list(result.splits)
    findings = list(result.labels[splits[0]]) if splits else []
    images = ", ".join(f"{count:,} {split}" for split, count in result.splits.items())
    return [
        Table(
            "Patients in more than one split",
            ("Patient", "Splits"),
            tuple((leak.patient, ", ".join(leak.splits)) for leak in result.leaks),
        ),
        Table(
            "Images that are copies of each other",
            ("Images", "How alike", "Splits", "Across splits"),
            tuple(
                (
                    ", ".join(group.images),
                    kind,
                    ", ".join(sorted(set(group.splits))),
                    "yes" if group.across else "no",
                )
                for kind, group in copies
            ),
        ),
        Table(
            "Images that show each finding",
            ("Finding", *splits),
            tuple(
                (
                    plain_name(finding),
                    *(f"{result.labels[split][finding].positive:,}" for split in splits),
                )
                for finding in findings
            ),
            note=f"{result.images:,} images of {result.patients:,} patients: {images}. "
            + ("No leak between splits." if result.clean else "The splits leak."),
        ),
    ]


def verification_table(result: VerificationResult) -> Table:
    """Return the files of what was verified, and what is wrong with each."""
    verdicts = {"sound": "yes", "damaged": "no: ", "unknown": "unknown: "}
    return Table(
        f"{result.kind} {result.path}",
        ("Piece", "MB", "Is it what was written?"),
        tuple(
            (
                printable(piece.name),
                f"{piece.bytes / 1e6:,.3f}",
                f"{verdicts[piece.status]}{piece.damage or ''}",
            )
            for piece in result.pieces
        ),
    )
