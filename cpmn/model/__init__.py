"""The network that reads a scan: layers, losses, plan, sliding windows, ensemble, devices."""
