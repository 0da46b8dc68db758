"""`python -m benchmarks.faults`."""

from benchmarks.faults.measure import main

if __name__ == "__main__":
    main()
