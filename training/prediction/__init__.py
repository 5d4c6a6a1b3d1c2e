"""What a trained network makes of new files."""
