"""The command line: each command calls one public function and shows its result."""
