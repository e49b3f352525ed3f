"""What an artifact costs and how good it is."""
