"""Files on a disk: whole or not at all, read with limits, and their damage."""
