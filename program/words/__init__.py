"""What is typed, made readable; what it means; what is said where it is wrong."""
