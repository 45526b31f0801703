"""Turns project names into slugs that are valid in git, in tmux and in agents' names."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_LENGTH = 40

# Names of addresses and of the crew's own tmux session, which a project must not take.
RESERVED = frozenset(
    {"orchestrator", "human", "supervisor", "timer", "tmux", "gate", "crew", "all", "project"}
)

_TRANSLITERATED = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa"})


def project_slug(name: str) -> str:
    """The slug of `name`: a-z, 0-9 and single hyphens, 1 to 40 characters, a letter first, none of RESERVED.

    Equal names give equal slugs. A name without any Latin letter or digit gets a short hash of itself.
    """
    lowered = unicodedata.normalize("NFC", name).lower().translate(_TRANSLITERATED)
    ascii_only = unicodedata.normalize("NFKD", lowered).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"['`]", "", ascii_only)).strip("-")
    if not slug:
        slug = f"project-{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    elif slug in RESERVED or not slug[0].isalpha():
        slug = f"project-{slug}"
    if len(slug) > MAX_LENGTH:
        whole = slug[: MAX_LENGTH + 1].rpartition("-")[0]
        slug = whole if len(whole) > MAX_LENGTH // 2 else slug[:MAX_LENGTH]
    return slug.strip("-")
