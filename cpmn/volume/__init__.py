"""Images as arrays with a geometry: files, grids, boxes, transforms."""
