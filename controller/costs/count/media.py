"""Names of page sizes as in PWG 5101.1, from their measures."""

from __future__ import annotations

POINTS_PER_MM = 72 / 25.4
TOLERANCE_POINTS = 5.0
"""As CUPS compares sizes: drivers round them differently."""

_SIZES = (
    ("iso_a4_210x297mm", 210.0, 297.0),
    ("iso_a3_297x420mm", 297.0, 420.0),
    ("na_letter_8.5x11in", 215.9, 279.4),
    ("na_legal_8.5x14in", 215.9, 355.6),
    ("na_ledger_11x17in", 279.4, 431.8),
    ("iso_a5_148x210mm", 148.0, 210.0),
    ("iso_a6_105x148mm", 105.0, 148.0),
    ("iso_a2_420x594mm", 420.0, 594.0),
    ("iso_a1_594x841mm", 594.0, 841.0),
    ("iso_a0_841x1189mm", 841.0, 1189.0),
    ("jis_b4_257x364mm", 257.0, 364.0),
    ("jis_b5_182x257mm", 182.0, 257.0),
    ("na_executive_7.25x10.5in", 184.15, 266.7),
    ("iso_dl_110x220mm", 110.0, 220.0),
    ("na_number-10_4.125x9.5in", 104.775, 241.3),
)
SHORT_NAMES = {
    **{name.split("_")[1]: name for name, _, _ in _SIZES},
    "tabloid": "na_ledger_11x17in",
    "11x17": "na_ledger_11x17in",
    "com10": "na_number-10_4.125x9.5in",
}
"""What PPDs and people call them, in small letters."""


def named(width: float, height: float) -> str:
    """The name of a page of so many points, either way up; a custom name where none fits, '' for what is no size."""
    if not (0 < width < 1e6 and 0 < height < 1e6):
        return ""
    short, long = sorted((width, height))
    for name, a, b in _SIZES:
        if abs(short - a * POINTS_PER_MM) <= TOLERANCE_POINTS and abs(long - b * POINTS_PER_MM) <= TOLERANCE_POINTS:
            return name
    short_mm, long_mm = round(short / POINTS_PER_MM), round(long / POINTS_PER_MM)
    return f"custom_{short_mm}x{long_mm}mm_{short_mm}x{long_mm}mm"


def normal(keyword: str) -> str:
    """A medium as an option names it ('A4', 'iso_a4_210x297mm', 'A4.Fullbleed,Tray1') by its name here, else ''."""
    for word in keyword.lower().split(","):
        base = word.strip()
        if base.startswith("custom_") or any(base == name for name, _, _ in _SIZES):
            return base
        if found := SHORT_NAMES.get(base) or SHORT_NAMES.get(base.split(".")[0]):
            return found
    return ""
