"""Our stages beside their peers, in the same run, on the same data and threads: `make bench`."""
