"""Trained models that are not in the package: what a policy needs, whether it is there, fetching.

A model is named in a policy as on the Hugging Face Hub (``meta-llama/Llama-Guard-3-1B``) or by a
folder, which begins with ``./``, ``../``, ``/`` or ``~``. Loading never downloads: `fetch` does,
when somebody asks for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo

from moderation.errors import ArtifactError

if TYPE_CHECKING:
    from moderation.engine import Moderator

FETCHED = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "README.md", "LICENSE*")
"""What of a repository on the Hub is brought: no pickled weights, no second copies."""

LEFT_OUT = ("original/*", "onnx/*", "openvino/*", "coreml/*", "*.bin.index.json")

_HUB_NAME = re.compile(r"[\w.-]+(?:/[\w.-]+)?")


def _hub_name_or_folder(value: object, info: ValidationInfo) -> object:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected a model's name on the Hub or the path of a folder")
    if value.startswith((".", "/", "~")) or "\\" in value or Path(value).is_absolute():
        path = Path(value).expanduser()
        base = (info.context or {}).get("folder")
        return path if base is None or path.is_absolute() else base / path
    if not _HUB_NAME.fullmatch(value):
        raise ValueError(
            "expected a name on the Hub such as 'meta-llama/Llama-Guard-3-1B', or a folder that "
            "begins with './' or '/'"
        )
    return value


ModelName: TypeAlias = Annotated[
    str | Path,
    BeforeValidator(_hub_name_or_folder),
    PlainSerializer(
        lambda model: model.name if isinstance(model, Path) else model, return_type=str
    ),
]
"""A model option: a Hub name stays a str, a folder becomes a Path beside the policy's file."""


@dataclass(frozen=True)
class Model:
    """A trained model that a filter needs: on the Hub, in a folder, or behind a server."""

    name: str
    folder: Path | None = None
    """Where it lies; None for a model that is looked for in the Hub's cache."""
    revision: str | None = None
    """A branch, tag or commit on the Hub; its main branch unless given."""
    server: str = ""
    """The address that serves it: nothing is needed here."""
    licence: str = ""
    """Its licence, where neither its card nor this module says."""
    required: tuple[str, ...] = ("config.json", "*.safetensors")
    """Patterns of files without which it cannot be loaded."""

    @classmethod
    def of(cls, name: str | Path, revision: str | None = None) -> Model:
        """The model that an option of type `ModelName` names."""
        if isinstance(name, Path):
            return cls(str(name), folder=name)
        return cls(name, revision=revision)


class Found(NamedTuple):
    """What is known about a model without going online."""

    where: str
    missing: str
    """What is not there, in words; empty where the model can be loaded."""
    size: int | None
    """Bytes; of what would be fetched where it is not there, as far as that is known."""
    licence: str


class _Published(NamedTuple):
    size: int
    licence: str
    gated: bool = False


# Sizes of the safetensors files on the Hub, rounded: for the day before the download.
_PUBLISHED = {
    "meta-llama/Llama-Guard-3-1B": _Published(3_000_000_000, "Llama 3.2 Community License", True),
    "meta-llama/Llama-Guard-3-8B": _Published(16_100_000_000, "Llama 3.1 Community License", True),
    "meta-llama/Llama-Guard-4-12B": _Published(24_000_000_000, "Llama 4 Community License", True),
    "Qwen/Qwen3Guard-Gen-0.6B": _Published(1_500_000_000, "Apache-2.0"),
    "Qwen/Qwen3Guard-Gen-4B": _Published(8_000_000_000, "Apache-2.0"),
    "Qwen/Qwen3Guard-Gen-8B": _Published(16_400_000_000, "Apache-2.0"),
    "Salesforce/blip-image-captioning-base": _Published(990_000_000, "BSD-3-Clause"),
    "Salesforce/blip-image-captioning-large": _Published(1_880_000_000, "BSD-3-Clause"),
    "Falconsai/nsfw_image_detection": _Published(343_000_000, "Apache-2.0"),
}


def is_gated(name: str) -> bool:
    """Whether the model is known to ask for its licence to be accepted first."""
    return name in _PUBLISHED and _PUBLISHED[name].gated


def needed(moderator: Moderator) -> dict[Model, list[str]]:
    """The models of a policy, each with the steps that need it."""
    found: dict[Model, list[str]] = {}
    for step in moderator.steps:
        for each in step.line():
            for model in each.filter.models():
                found.setdefault(model, []).append(each.spec.name)
    return found


def look(model: Model) -> Found:
    """Where `model` is looked for, and what of it is there."""
    published = _PUBLISHED.get(model.name)
    licence = published.licence if published else model.licence
    size = published.size if published else None
    if model.server:
        return Found(f"served at {model.server}", "", None, licence)
    folder = model.folder or _snapshot(model)
    if folder is None:
        return Found(str(_cache_folder(model)), "not there", size, licence)
    if not folder.is_dir():
        return Found(str(folder), "no such folder", size, licence)
    missing = _missing(folder, model.required)
    there = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Found(
        str(folder),
        f"incomplete: {', '.join(missing)}" if missing else "",
        size if missing and size else there,
        _licence(folder) or licence,
    )


def locate(model: Model) -> Path:
    """The folder that holds `model`, whole.

    Raises:
        ArtifactError: it is not there, with what to do.
    """
    found = look(model)
    if not found.missing:
        return Path(found.where)
    if model.folder is not None:
        raise ArtifactError(
            f"{found.where}: {found.missing}; give a folder that holds the model as published "
            "(config.json, the tokenizer, weights as safetensors), or its name on the Hub"
        )
    size = f" ({told_size(found.size)})" if found.size else ""
    accept = (
        f"accept its licence at https://huggingface.co/{model.name}, set HF_TOKEN, and "
        if is_gated(model.name)
        else ""
    )
    raise ArtifactError(
        f"{model.name}{size} is not in the cache of the Hugging Face Hub at {found.where} "
        f"({found.missing}); {accept}run: moderation models fetch {model.name}"
    )


def fetch(model: Model) -> Path:
    """Bring `model` from the Hub into its cache, with a progress bar on standard error.

    A transfer that breaks goes on from the byte where it broke; a run that was stopped keeps every
    file that was whole.

    Raises:
        ArtifactError: it cannot be fetched, with what to do.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if model.folder is not None or model.server:
        raise ArtifactError(f"{model.name}: not a model on the Hub, so there is nothing to fetch")
    if constants.HF_HUB_OFFLINE:
        if not look(model).missing:
            return locate(model)
        raise ArtifactError(
            f"{model.name}: HF_HUB_OFFLINE is set, so nothing is downloaded; unset it, or copy the "
            f"model into {look(model).where} from another machine"
        )
    page = f"{constants.ENDPOINT}/{model.name}"

    def download(tries: int = 3) -> str:
        try:
            return snapshot_download(
                model.name,
                revision=model.revision,
                allow_patterns=list(FETCHED),
                ignore_patterns=list(LEFT_OUT),
            )
        except Exception as error:
            # Newer clients go on with a broken transfer by themselves, older ones when asked again.
            if tries > 1 and _broke_off(error):
                return download(tries - 1)
            raise

    try:
        folder = download()
    except GatedRepoError:
        raise ArtifactError(
            f"{model.name} is gated: accept its licence at {page}, make a token at "
            f"{constants.ENDPOINT}/settings/tokens, set HF_TOKEN to it, and fetch again"
        ) from None
    except RevisionNotFoundError:
        raise ArtifactError(f"{model.name}: no revision {model.revision!r} at {page}") from None
    except RepositoryNotFoundError:
        raise ArtifactError(
            f"{model.name}: no such model at {page}, or one that is private: check the name, and "
            "set HF_TOKEN if it is yours"
        ) from None
    except LocalEntryNotFoundError:
        raise ArtifactError(
            f"{model.name}: {constants.ENDPOINT} cannot be reached; check the connection, "
            "HTTPS_PROXY and HF_ENDPOINT, and fetch again: what is there is kept"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "no"
        raise ArtifactError(f"{model.name}: {page} answered with status {status}") from None
    except Exception as error:
        if not (isinstance(error, OSError) or _broke_off(error)):
            raise
        told = getattr(error, "strerror", None) or type(error).__name__  # such as a full disk
        raise ArtifactError(
            f"{model.name}: the download broke off ({told}); fetch again: files that were whole "
            "are kept"
        ) from error
    missing = _missing(Path(folder), model.required)
    if missing:
        raise ArtifactError(
            f"{model.name}: {page} holds no {', '.join(missing)}, so it cannot be loaded; weights "
            "that are pickled are not loaded"
        )
    return Path(folder)


def told_size(size: int) -> str:
    """``3.0 GB``, for people."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size} bytes"


def _broke_off(error: Exception) -> bool:
    # The client's HTTP library is its own business, and has changed from requests to httpx.
    return type(error).__module__.partition(".")[0] in ("requests", "httpx", "httpx2", "urllib3")


def _cache_folder(model: Model) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=model.name, repo_type="model")


def _snapshot(model: Model) -> Path | None:
    # Not the Hub client's own look-up: whether it calls half a download a snapshot differs between
    # its versions.
    folder = _cache_folder(model)
    revision = model.revision or "main"
    reference = folder / "refs" / revision
    if reference.is_file():
        revision = reference.read_text(encoding="utf-8").strip()
    snapshot = folder / "snapshots" / revision
    return snapshot if revision and snapshot.is_dir() else None


def _missing(folder: Path, required: Iterable[str]) -> list[str]:
    missing = [pattern for pattern in required if not any(folder.glob(pattern))]
    missing += [shard for shard in _shards(folder) if not (folder / shard).is_file()]
    return missing


def _shards(folder: Path) -> Iterator[str]:
    for index in folder.glob("*.safetensors.index.json"):
        try:
            names = json.loads(index.read_bytes())["weight_map"].values()
        except (ValueError, KeyError, AttributeError, TypeError):
            yield f"a readable {index.name}"
        else:
            yield from sorted(set(map(str, names)))


def _licence(folder: Path) -> str:
    """What the model's card says, in the YAML at its head."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    head = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    named = dict(re.findall(r"^(license(?:_name)?):\s*(\S.*?)\s*$", head[1], re.M) if head else ())
    licence: str = named.get("license_name") or named.get("license", "")
    return licence.strip("'\"")
