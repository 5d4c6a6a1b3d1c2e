"""From the net and the disk: downloads, stored images, plain pickles."""
