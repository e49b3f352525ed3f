"""A checkpoint or a foreign model to OpenVINO IR."""
