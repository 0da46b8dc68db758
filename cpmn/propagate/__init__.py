"""Stage `propagate`: embolus labels from the CTPA grid to the native NCT grid."""
