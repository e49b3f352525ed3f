"""Images a second and latency under MLPerf's scenarios."""
