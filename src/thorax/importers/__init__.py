"""Models of any framework to OpenVINO graphs that say what the framework said, and no more."""
