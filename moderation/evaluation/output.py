"""Reports on disk: whole, or not there."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: str | Path, text: str) -> None:
    """Writes `text` as UTF-8; a disk that fills up leaves what stood there before.

    What is no plain file, as `/dev/stdout`, is written to as it is. Raises OSError.
    """
    target = Path(path)
    if target.is_symlink() or (target.exists() and not target.is_file()):
        target.write_text(text, encoding="utf-8", errors="replace")
        return
    temporary = target.with_name(f".{target.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8", errors="replace")
        os.replace(temporary, target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
