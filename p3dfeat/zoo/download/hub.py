"""The Hugging Face hub, through huggingface_hub: HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE and tokens work as usual.

A p3dfeat model on the hub, or in a folder, consists of two files: ``config.json`` holds the card's content, and
``model.safetensors`` the weights with p3dfeat's names.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from p3dfeat._version import __version__
from p3dfeat.errors import WeightsError
from p3dfeat.http.fetch import OnBytes
from p3dfeat.text.jsons import read_object
from p3dfeat.text.urls import scrubbed, without_secrets
from p3dfeat.zoo.cards import HUB_NAME, REVISION
from p3dfeat.zoo.download.cache import CacheError
from p3dfeat.zoo.formats.archive import LARGEST_BYTES

HOST: Final = "hf.co"
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
PREPROCESSING: Final = "preprocessor_config.json"  # in transformers' models


def parse_repository(text: str) -> tuple[str, str | None] | None:
    """("user/repo", revision or None) of ``user/repo[@revision]``; None for any other text."""
    found = re.fullmatch(rf"({HUB_NAME})(?:@({REVISION}))?", text)
    return (found[1], found[2]) if found else None


def fetch(
    repository: str, file: str, revision: str | None, *, anew: bool = False, on_bytes: OnBytes | None = None
) -> tuple[Path, str]:
    """A file of a repository, from the cache if possible, and its commit.

    anew: download even if the file is in the cache.
    Raises WeightsError, with a message of one line, for all errors; MissingFileError if the repository lacks the file.
    """
    with _one_line(repository, file, revision):
        from huggingface_hub import hf_hub_download

        path = hf_hub_download(
            repository,
            file,
            revision=revision,
            force_download=anew,
            library_name="p3dfeat",
            library_version=__version__,
            tqdm_class=_bar(_bounded(repository, file, on_bytes or (lambda done, total: None))),
        )
    return Path(path), _commit(Path(path))


def cached(repository: str, file: str, revision: str | None) -> Path | None:
    """The file from the cache, or None. The network is not used."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(repository, file, revision=revision)
    except ValueError:  # an invalid name; fetching reports it in one line
        return None
    return Path(found) if isinstance(found, str) else None


def cache_folder() -> Path:
    """The cache folder of huggingface_hub."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def read_config(path: Path) -> dict[str, Any]:
    """The content of a config.json. Raises WeightsError."""
    try:
        return read_object(path)
    except OSError as error:
        raise WeightsError(f"{path}: not readable ({error.strerror})") from None
    except ValueError as error:
        raise WeightsError(f"{path}: no settings in JSON ({error})") from None


def address(repository: str) -> str:
    """The web address of a repository on HF_ENDPOINT."""
    from huggingface_hub.constants import ENDPOINT

    return f"{without_secrets(ENDPOINT)}/{repository}"


def upload(files: Mapping[str, bytes], repository: str, *, private: bool, message: str, show_progress: bool) -> str:
    """Create the repository if there is none, and commit ``files``. Returns the address of the commit.

    show_progress: show huggingface_hub's progress bars. Raises WeightsError, with a message of one line.
    """
    with _one_line(repository, None, None):
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.utils.tqdm import disable_progress_bars

        if not show_progress:
            disable_progress_bars()
        api = HfApi(library_name="p3dfeat", library_version=__version__)
        api.create_repo(repository, private=private, exist_ok=True)
        if private and not api.model_info(repository).private:
            raise WeightsError(
                f"{repository}: is public already; make it private on its page, or push without --private"
            )
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        return str(api.create_commit(repository, operations, commit_message=message).commit_url)


class MissingFileError(WeightsError):
    """The repository exists, but the file does not."""


def holds(repository: str, file: str) -> bool:
    """Whether a repository has the file now; False if there is no repository. Raises WeightsError."""
    with _one_line(repository, file, None):
        from huggingface_hub import HfApi

        return bool(HfApi(library_name="p3dfeat", library_version=__version__).file_exists(repository, file))


def config_of(repository: str) -> dict[str, Any] | None:
    """The current content of the repository's config.json; None if there is none. Raises WeightsError."""
    if not holds(repository, CONFIG):
        return None
    return read_config(fetch(repository, CONFIG, None, anew=True)[0])  # never from the cache, even if the hub is busy


@contextmanager
def _one_line(repository: str, file: str | None, revision: str | None) -> Iterator[None]:
    """Turn errors of huggingface_hub into a WeightsError of one line."""
    import httpx2
    from huggingface_hub import constants, errors
    from huggingface_hub.utils import logging

    if "HF_HUB_VERBOSITY" not in os.environ:
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it warns before each retry and each error
    place = f"{repository}@{revision}" if revision else repository
    where = f"{place} on {without_secrets(constants.ENDPOINT)}"
    try:
        yield
    except errors.GatedRepoError:
        raise WeightsError(
            f"{where}: gated; ask for access on its page, then run hf auth login or set HF_TOKEN"
        ) from None
    except errors.RepositoryNotFoundError:
        raise WeightsError(f"{where}: no such repository, or a private one; for that, hf auth login") from None
    except errors.RevisionNotFoundError:
        raise WeightsError(f"{where}: no such revision") from None
    except errors.LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            raise WeightsError(f"{place}: {file} is not in the cache and HF_HUB_OFFLINE is set") from None
        raise WeightsError(f"{where}: could not be reached ({_reason(error.__cause__ or error)})") from None
    except errors.EntryNotFoundError:
        raise MissingFileError(f"{where}: has no {file}") from None
    except errors.OfflineModeIsEnabled:
        raise WeightsError(f"{where}: HF_HUB_OFFLINE is set") from None
    except errors.HFValidationError as error:
        raise WeightsError(f"{place}: not a repository name ({_reason(error)})") from None
    except errors.HfHubHTTPError as error:
        raise WeightsError(f"{where}: {_status(error)}") from None
    except httpx2.HTTPError as error:
        raise WeightsError(f"{where}: could not be reached ({_reason(error)})") from None
    except OSError as error:  # the cache's disk, fewer bytes than announced, or a file named in a setting
        named = str(error.filename or "")
        if error.errno and (not named or named.startswith(str(cache_folder()))):
            remedy = f"HF_HOME may name another folder than {cache_folder()}"
            raise CacheError(f"{place}: {file or 'its files'}: {error.strerror}; {remedy}") from None
        raise WeightsError(f"{where}: {error.strerror or _reason(error)}{f' ({named})' if named else ''}") from None
    except (ImportError, ValueError, RuntimeError, httpx2.InvalidURL) as error:
        raise WeightsError(f"{where}: {_reason(error)}") from None


def _status(error: Any) -> str:
    response = error.response
    status = f"HTTP {response.status_code} ({response.reason_phrase.lower() or 'no reason given'})"
    return f"{status}; is the token right? see hf auth login" if response.status_code in (401, 403) else status


def _reason(error: BaseException) -> str:
    """The first line of an error's message."""
    return scrubbed((str(error).strip().splitlines() or [type(error).__name__])[0]).rstrip(".")


def _commit(path: Path) -> str:
    """The commit of a file in the cache, whose path is snapshots/<commit>/<file>."""
    return path.parent.name


def _bounded(repository: str, file: str, on_bytes: OnBytes) -> OnBytes:
    """``on_bytes`` with a check: it raises WeightsError if the file, by its announced or actual size, is too large."""

    def told(done: int, total: int | None) -> None:
        if max(done, total or 0) > LARGEST_BYTES:
            raise WeightsError(f"{repository}: {file} is larger than the {LARGEST_BYTES / 1e9:.1f} GB of any weights")
        on_bytes(done, total)

    return told


def _bar(on_bytes: OnBytes) -> Any:
    """A subclass of huggingface_hub's progress bar that draws nothing and calls ``on_bytes``."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *args: Any, **settings: Any):
            super().__init__(*args, **{**settings, "disable": True})  # type: ignore[no-untyped-call]
            on_bytes(int(self.n), self.total)

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            on_bytes(int(self.n), self.total)

        def update_transfer(self, n: float) -> None:
            """Ignore Xet's count of transferred bytes; ``update`` gets the bytes of the file."""

        def set_transfer_postfix_str(self, text: str, refresh: bool = True) -> None:
            """Ignore the transfer rate."""

    return Bar
