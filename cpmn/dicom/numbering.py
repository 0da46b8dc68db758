"""What the numbers of a series' slices say of slices that are not there."""

from collections.abc import Sequence
from dataclasses import dataclass

from cpmn.dicom.headers import Header

LISTED = 8  # numbers named in a message


@dataclass(frozen=True)
class Numbering:
    """Instance numbers of a series: the first and the last, and those between that no slice has."""

    first: int
    last: int
    missing: tuple[int, ...]
    upward: bool

    def describe(self) -> str:
        """What lacks, as a clause; empty if nothing does."""
        found = []
        if self.missing:
            more = f" and {len(self.missing) - LISTED} more" if len(self.missing) > LISTED else ""
            listed = ", ".join(map(str, self.missing[:LISTED])) + more
            found.append(f"of slices {self.first} to {self.last} there are none numbered {listed}")
        if self.first > 1:
            side = "lower" if self.upward else "upper"
            found.append(f"numbers begin at {self.first}: slices may lack at the {side} end")
        return "; ".join(found)


def numbering_of(slices: Sequence[Header]) -> Numbering | None:
    """Numbering of slices that stand in the order of their places from the feet up.

    None where numbers are absent, repeated, or say nothing of the place, as those of exports that number at random or
    count every second slice of a thinner reconstruction.
    """
    numbers = [header.number("InstanceNumber") for header in slices]
    whole = [int(number) for number in numbers if number is not None and float(number).is_integer()]
    if len(whole) < len(numbers) or len(set(whole)) < len(whole) or len(whole) < 2:
        return None
    if whole not in (sorted(whole), sorted(whole, reverse=True)):
        return None
    if max(whole) - min(whole) + 1 - len(whole) >= len(whole) // 2:
        return None
    missing = sorted(set(range(min(whole), max(whole) + 1)) - set(whole))
    return Numbering(min(whole), max(whole), tuple(missing), whole[0] < whole[-1])
