"""Pulmonary embolism on non-contrast chest CT, learnt across CT phases (CPMN, Bai et al., MICCAI 2024)."""

__version__ = "0.1.0"
