"""Series: the slices that may form a volume.

A series is what one SeriesInstanceUID names, one acquisition of it where it holds several (`acquisition`), or several
that an archive made of one scan (`continuation`).
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from cpmn.config.convert import ConvertConfig
from cpmn.dicom.acquisition import acquisitions
from cpmn.dicom.contrast import Contrast, contrast_evidence
from cpmn.dicom.geometry import Geometry, stack_geometry
from cpmn.dicom.headers import Header, reason_not_a_slice
from cpmn.dicom.identity import Identity, identity_of, uid_key
from cpmn.dicom.problem import SeriesProblem


@dataclass
class Series:
    """DICOM slices that may form a volume.

    Attributes
    ----------
    key : first 12 hex digits of the SHA-256 of the UID, which stands for the UID in all that is written; with a number
        behind it for one acquisition of several (`key.1`), two keys for series that were joined (`key+key`).
    uid : SeriesInstanceUID; of series that were joined, the first one's.
    slices : headers that can be CT slices; in the order of the volume once `geometry` is set.
    dropped : number of other files of the series, by reason.
    geometry : set if the slices form a volume.
    problems : why the series cannot be used; empty if it can.
    contrast : evidence of contrast medium; from the header, or from the image once that was asked.
    told_apart : what tells this acquisition from the others of its series; empty where it is the whole series.
    names : what names it in a request: its UIDs and keys.
    identity : whose it is, and when it was taken.
    """

    key: str
    uid: str
    slices: list[Header] = field(default_factory=list)
    dropped: Counter = field(default_factory=Counter)
    geometry: Geometry | None = None
    problems: list[SeriesProblem] = field(default_factory=list)
    contrast: Contrast = field(default_factory=lambda: Contrast("unknown", "no tag"))
    told_apart: str = ""
    names: frozenset[str] = frozenset()
    identity: Identity = field(default_factory=Identity)

    @property
    def first(self) -> Header:
        """Header of the first slice, for the tags that all slices share."""
        return self.slices[0]

    def describe(self) -> str:
        """One clause for messages and JSON, without anything that identifies the patient."""
        apart = f", told apart by {self.told_apart}" if self.told_apart else ""
        if self.geometry is None:
            return f"series {self.key}{apart}"
        contrast, kernel = self.contrast.evidence, self.first.text("ConvolutionKernel") or "unknown"
        return (
            f"series {self.key} (number {self.first.text('SeriesNumber') or '?'}, {len(self.slices)} slices every "
            f"{self.geometry.spacing[2]:.2f} mm, kernel {kernel}, contrast {contrast}{apart})"
        )


def group_series(headers: list[Header], config: ConvertConfig) -> list[Series]:
    """Group headers by series and acquisition, set aside what is no CT slice, and work out geometry or problems."""
    groups: dict[str, list[Header]] = defaultdict(list)
    for header in headers:
        groups[header.text("SeriesInstanceUID") or f"folder {header.path.parent}"].append(header)
    return [item for uid, group in sorted(groups.items()) for item in _acquisitions(uid, group, config)]


def _acquisitions(uid: str, headers: list[Header], config: ConvertConfig) -> list[Series]:
    """The acquisitions of one SeriesInstanceUID, nearly always one."""
    reasons = [reason_not_a_slice(header) for header in headers]
    dropped = Counter(reason for reason in reasons if reason is not None)
    slices = [header for header, reason in zip(headers, reasons, strict=True) if reason is None]
    key = uid_key(uid)
    if not slices:
        listed, where = ", ".join(dropped), headers[0].path.parent
        problem = SeriesProblem(listed, "Give the folder of an axial CT series.", where)
        return [Series(key, uid, dropped=dropped, problems=[problem], names=frozenset({uid, key}))]
    parts = acquisitions(slices)
    keys = [f"{key}.{number}" for number in range(1, len(parts) + 1)] if len(parts) > 1 else [key]
    return [
        examine(
            Series(own, uid, part.headers, dropped, told_apart=part.told_by, names=frozenset({uid, key, own})), config
        )
        for own, part in zip(keys, parts, strict=True)
    ]


def examine(series: Series, config: ConvertConfig) -> Series:
    """Fill in geometry, order of slices, contrast by the tags and identity, or the problems."""
    series.identity = identity_of(series.slices)
    if len(series.slices) < config.minimum_slices:
        series.problems.append(
            SeriesProblem(
                f"the series has {len(series.slices)} CT slices, at least {config.minimum_slices} are needed",
                "Give a whole chest, or lower convert.minimum_slices.",
            )
        )
    if len(series.slices) == 1:
        return series
    try:
        series.geometry = stack_geometry(series.slices, config)
        series.slices = [series.slices[i] for i in series.geometry.order]
        series.contrast = contrast_evidence(series.first)
    except SeriesProblem as problem:
        series.problems.append(problem)
    return series
