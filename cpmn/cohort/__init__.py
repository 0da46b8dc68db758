"""Who takes part, and in which part: the sheet, its rows, splits and roles."""
