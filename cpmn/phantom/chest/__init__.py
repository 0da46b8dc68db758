"""Dual-phase pairs made from a real non-contrast chest: real anatomy, simulated contrast, emboli and motion."""
