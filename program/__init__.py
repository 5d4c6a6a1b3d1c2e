"""What any program here stands on: command line, files, processes, device."""
