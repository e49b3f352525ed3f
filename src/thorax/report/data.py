"""What `thorax data check` finds in a store."""

from thorax.labels import plain_name
from thorax.report.series import Document
from thorax.report.table import Table


def check_tables(document: Document) -> list[Table]:
    """Return what `data check` found: leaks and copies where there are any, and label counts."""
    copies = [
        (kind, group)
        for kind, key in (("same file", "duplicates"), ("near copy", "near_duplicates"))
        for group in document[key]
    ]
    splits = list(document["splits"])
    findings = list(document["labels"][splits[0]]) if splits else []
    images = ", ".join(f"{count:,} {split}" for split, count in document["splits"].items())
    return [
        Table(
            "Patients in more than one split",
            ("Patient", "Splits"),
            tuple((leak["patient"], ", ".join(leak["splits"])) for leak in document["leaks"]),
        ),
        Table(
            "Images that are copies of each other",
            ("Images", "How alike", "Splits", "Across splits"),
            tuple(
                (
                    ", ".join(group["images"]),
                    kind,
                    ", ".join(sorted(set(group["splits"]))),
                    "yes" if group["across"] else "no",
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
                    *(f"{document['labels'][split][finding]['positive']:,}" for split in splits),
                )
                for finding in findings
            ),
            note=f"{document['images']:,} images of {document['patients']:,} patients: {images}. "
            + ("No leak between splits." if document["clean"] else "The splits leak."),
        ),
    ]
