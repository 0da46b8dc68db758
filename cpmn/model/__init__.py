"""The network that reads a scan, and what trains it: layers, losses, plan, sliding windows, ensemble, devices."""
