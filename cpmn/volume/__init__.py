"""Images as arrays with a geometry: files, grids, boxes, transforms, and the working grid that the network sees."""
