"""The tables of training runs."""

from tests.results.test_training import SCHEDULE

from thorax.report.training import schedule_table
from thorax.results.training import TrainingRecord


def test_schedules_stand_side_by_side() -> None:
    small = {**SCHEDULE, "batch": 32, "warmup_steps": 1000}
    records = [{"run": "large", "schedule": SCHEDULE}, {"run": "s", "schedule": small}]
    table = schedule_table([TrainingRecord.model_validate(record) for record in records])
    assert table is not None
    assert table.columns == ("", "large", "s")
    assert ("Global batch", "8,192", "32") in table.rows
    assert ("Updates of warm-up", "", "1,000") in table.rows
    assert schedule_table([TrainingRecord(run="old")]) is None
