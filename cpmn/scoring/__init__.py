"""How good a reading is: overlap, lesions, patients, decision, comparison."""
