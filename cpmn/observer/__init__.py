"""The reference observer: how well emboli could be found at best in the phantom, and a naive floor beside it."""
