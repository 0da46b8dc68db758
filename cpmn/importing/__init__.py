"""`cpmn import`: public PE data sets, as they lie on disk, as a cohort sheet with embolus masks.

No public set holds paired scans: the sheet's column `nct` stays empty until its user fills it in. The layouts are those
that the sets' own descriptions and public code that reads them give; each is tested on made-up trees of that form.
"""
