"""The images of a run: files, addresses, members of tars, rows of data sets."""
