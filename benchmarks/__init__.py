"""One script per claim, each run from the root of the repository: `python -m benchmarks.CLAIM`.

`harness/` is how it is measured, `subjects/` what is, `record/` what documents say of the results.
"""
