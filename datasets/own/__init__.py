"""One's own data: a folder of images, arrays, tables of time series."""
