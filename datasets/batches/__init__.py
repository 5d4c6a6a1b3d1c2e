"""From stored samples to batches of a network's inputs."""
