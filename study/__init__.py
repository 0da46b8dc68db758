"""The study: is cross-phase learning worth its cost? It runs on the project's own workflow; see `study/README.md`."""
