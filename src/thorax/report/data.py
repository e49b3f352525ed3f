"""Tables of what `thorax data check` found in a store, and of what `thorax verify` read."""

from thorax.errors import printable
from thorax.labels import plain_name
from thorax.report.table import Table, table_of
from thorax.results.data import CheckResult, ImportResult
from thorax.results.verification import VerificationResult


def import_tables(result: ImportResult) -> list[Table]:
    """Return what `data import` took, by finding, and what it left out, by reason."""
    splits, views = (
        ", ".join(f"{count:,} {name}" for name, count in counts.items())
        for counts in (result.splits, result.views)
    )
    return [
        Table(
            "Labels",
            ("Finding", "Positive", "Negative", "Unknown"),
            tuple(
                (
                    plain_name(finding),
                    f"{counts.positive:,}",
                    f"{counts.negative:,}",
                    f"{counts.unknown:,}",
                )
                for finding, counts in result.labels.items()
            ),
            note=f"Label set {result.label_set}. Images: {splits}; views: {views}; "
            f"{result.boxes:,} boxes.",
        ),
        table_of(
            "Left out",
            list(result.left_out.items()),
            {"Reason": lambda row: row[0], "Files": lambda row: f"{row[1]:,}"},
        ),
    ]


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
        table_of(
            "Patients in more than one split",
            result.leaks,
            {"Patient": lambda leak: leak.patient, "Splits": lambda leak: ", ".join(leak.splits)},
        ),
        table_of(
            "Images that are copies of each other",
            copies,
            {
                "Images": lambda copy: ", ".join(copy[1].images),
                "How alike": lambda copy: ", ".join(
                    filter(None, dict.fromkeys((copy[0], *copy[1].changes)))
                ),
                "Splits": lambda copy: ", ".join(sorted(set(copy[1].splits))),
                "Across splits": lambda copy: "yes" if copy[1].across else "no",
            },
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
    return table_of(
        f"{result.kind} {result.path}",
        result.pieces,
        {
            "Piece": lambda piece: printable(piece.name),
            "MB": lambda piece: f"{piece.bytes / 1e6:,.3f}",
            "Is it what was written?": lambda piece: (
                f"{verdicts[piece.status]}{piece.damage or ''}"
            ),
        },
    )
