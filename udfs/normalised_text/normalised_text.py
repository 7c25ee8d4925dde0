"""Text as people typed it, in one form, so that what is the same reads the same: `  Ｃａｆé\\tMÜLLER ` as `cafe muller`."""

import unicodedata
from dataclasses import dataclass

from millrace_sdk import Column, transform


@dataclass
class Options:
    """What is done to a text beside Unicode's compatible composition (NFKC), and spaces made one."""

    case: bool = True
    """Case is folded, which is lower case and more: `Straße` and `STRASSE` are the same."""
    accents: bool = True
    """Accents are taken off: `é` becomes `e`."""
    punctuation: bool = False
    """Punctuation and symbols become spaces."""


# ASCII's punctuation, and its control characters, as spaces.
CONTROLS = {code: " " for code in [*range(32), 127]}
MARKS = CONTROLS | {code: " " for code in range(33, 127) if not chr(code).isalnum()}


def normalised(text: str, options: Options) -> str:
    """One text in its one form."""
    if text.isascii():
        text = text.translate(MARKS if options.punctuation else CONTROLS)
        return " ".join((text.lower() if options.case else text).split())
    text = unicodedata.normalize("NFKC", text)
    if options.case:
        text = unicodedata.normalize("NFKC", text.casefold())
    if options.accents:
        apart = unicodedata.normalize("NFD", text)
        text = unicodedata.normalize("NFC", "".join(letter for letter in apart if unicodedata.category(letter) != "Mn"))
    unwanted = "CPS" if options.punctuation else "C"
    text = "".join(" " if unicodedata.category(letter)[0] in unwanted else letter for letter in text)
    return " ".join(text.split())


@transform.columns
def normalised_text(text: Column[str | None], options: Options) -> {"text": str | None}:
    # Texts come again, in a batch as in life.
    known: dict[str | None, str | None] = {None: None}
    out = []
    for one in text:
        if one not in known:
            known[one] = normalised(one, options)
        out.append(known[one])
    return {"text": out}
