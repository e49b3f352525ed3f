"""The loss around trained weights: sharpness, lines and planes."""
