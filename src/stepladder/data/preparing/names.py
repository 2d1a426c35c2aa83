"""Names of countries, languages, currencies, scripts and subdivisions, translated by people.

The gettext catalogues of Debian's iso-codes, as the package ``pycountry`` carries them: the English name of every entry
of ISO 3166, 4217, 639 and 15924, and its translation where a translator gave one.
"""

from __future__ import annotations

import gettext
from pathlib import Path

import pycountry

from stepladder.errors import UserError

LICENCE = "LGPL-2.1-or-later (iso-codes, by its translators)"
LOCALES = Path(pycountry.__file__).parent / "locales"


def languages() -> list[str]:
    """The languages that there are translations into, as gettext names them: ``uk``, ``zh_CN``, ..."""
    return sorted(p.name for p in LOCALES.iterdir() if any(p.glob("LC_MESSAGES/*.mo")))


DOMAINS = {
    "country": "iso3166-1", "currency": "iso4217", "language": "iso639-3", "script": "iso15924", "subdivision": "iso3166-2",
}  # fmt: skip


def english(domain: str = "") -> list[str]:
    """English names, sorted, of one of ``DOMAINS``, or of all of them: what the catalogues translate into any language."""
    names: set[str] = set()
    for catalogue in [DOMAINS[domain]] if domain else DOMAINS.values():
        for file in LOCALES.glob(f"*/LC_MESSAGES/{catalogue}.mo"):
            with file.open("rb") as stream:
                entries: dict[object, str] = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
            names |= {name for name in entries if isinstance(name, str) and name}
    return sorted(names)


def pairs(language: str) -> list[tuple[str, str]]:
    """(English name, its translation into ``language``), sorted, one for each English name.

    Entries that nobody translated, or that are the same in both languages, are left out. Where catalogues differ
    the one of most general use wins (countries before languages before subdivisions).

    Raises:
        UserError: there is no catalogue of ``language``.
    """
    if language not in languages():
        raise UserError(f"There are no names in {language!r}; there are: {', '.join(languages())}.")
    translations: dict[str, str] = {}
    for domain in ("iso3166-1", "iso3166-3", "iso4217", "iso15924", "iso639-5", "iso639-3", "iso3166-2"):
        file = LOCALES / language / "LC_MESSAGES" / f"{domain}.mo"
        if not file.exists():
            continue
        with file.open("rb") as stream:
            catalogue: dict[object, str] = gettext.GNUTranslations(stream)._catalog  # type: ignore[attr-defined]
        for english, translation in catalogue.items():
            if isinstance(english, str) and english and translation and translation != english:
                translations.setdefault(english, translation)
    return sorted(translations.items())
