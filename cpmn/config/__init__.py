"""Configuration: one pydantic model per stage section, each in its own module.

Kept free of imports, so that a stage depends on its own section alone and a change to another stage's section does
not run it again.
"""
