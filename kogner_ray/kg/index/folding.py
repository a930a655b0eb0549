"""Coarser keys of a name, under which spellings of one name meet: each says less than the one before.

normalise_name    Dyskinesias, Drug-Induced     dyskinesias, drug induced
squashed          CaCl(2), 5-FU, α-tocopherol   cacl2, 5fu, alphatocopherol
bag               tumours of the lung           lung tumor
"""

from __future__ import annotations

import re
import unicodedata

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ο": "omicron", "π": "pi",
    "ρ": "rho", "σ": "sigma", "ς": "sigma", "τ": "tau", "υ": "upsilon", "φ": "phi", "χ": "chi", "ψ": "psi",
    "ω": "omega",
}  # fmt: skip
_SPELLED = str.maketrans(_GREEK)
_NO_KEY = re.compile(r"[^\w+]|_")
_WORD = re.compile(r"[^\W_]+\+?")
_BRITISH = {
    "tumour": "tumor",
    "haem": "hem",
    "aem": "em",
    "oed": "ed",
    "oea": "ea",
    "paed": "ped",
    "sulph": "sulf",
    "leuk": "leuc",
    "oes": "es",
    "colour": "color",
    "gynaec": "gynec",
}
_EMPTY = frozenset(["of", "the", "a", "an", "and", "or", "in", "on", "to", "by", "with", "for", "from", "due"])
_FEWEST_LETTERS = 4  # a shorter word ends in s for other reasons than the plural


def spelled(name: str) -> str:
    """A normalised name with Greek letters written out and accents gone."""
    if name.isascii():
        return name
    bare = unicodedata.normalize("NFKD", name.translate(_SPELLED))
    return "".join(character for character in bare if not unicodedata.combining(character))


def squashed(name: str) -> str:
    """Letters, digits and `+` of a normalised name."""
    return _NO_KEY.sub("", spelled(name))


def bag(name: str) -> str:
    """The words of a normalised name in alphabetical order, singular and in American spelling, without empty ones."""
    words = [word for word in _WORD.findall(spelled(name)) if word not in _EMPTY]
    return " ".join(sorted(map(_plain, words)))


def _plain(word: str) -> str:
    if len(word) < _FEWEST_LETTERS:
        return word
    for british, american in _BRITISH.items():
        word = word.replace(british, american)
    return singular(word)


def singular(word: str) -> str:
    """`word` without the s of a plural."""
    if len(word) < _FEWEST_LETTERS or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies") and len(word) > _FEWEST_LETTERS:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1]
