"""Stage `register`: the CTPA (moving) onto the NCT (fixed) with ANTs."""
