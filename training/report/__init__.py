"""What a run shows and leaves behind: tables, records, pictures, W&B."""
