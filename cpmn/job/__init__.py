"""What a job needs beside its work: who it is, what it depends on, its log, its status."""
