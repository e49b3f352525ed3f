"""Child processes that may do little, for what strangers wrote."""
