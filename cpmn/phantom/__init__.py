"""The built-in dual-phase cohort: anatomy drawn analytically in mm, scanned twice, written as DICOM."""
