"""Stage `report`: one self-contained page, a model card and a record of the run.

`collect` reads what the stages left, `tables` and `estimates` make rows and texts, `figures` and `gallery` pictures;
headings stand in `templates/`.
"""
