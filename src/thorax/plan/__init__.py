"""What it would cost: images per second, watts and time of machines that are not here."""
