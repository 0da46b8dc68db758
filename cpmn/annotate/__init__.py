"""Stage `annotate`: networks that learn from the outlined CTPAs outline those that nobody did.

- `crops.py`: what the networks see of a CTPA: its lung box, a function of the CTPA alone;
- `teachers.py`: who teaches, and which network reads whom;
- `reading.py`: a CTPA read, what of it becomes an outline, and how doubtful it is;
- `stage.py`: the files of one patient, and the tables of all.
"""
