"""What every command answers: one frozen model a command, whose fields are the JSON keys."""
