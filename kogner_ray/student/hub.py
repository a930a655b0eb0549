"""Checkpoints by name: a folder, or a model on the Hugging Face hub.

    load_checkpoint("runs/mine/checkpoint")      a folder, ours or one of a GLiNER span bi-encoder
    load_checkpoint("org/name@revision")         fetched into the hub's cache first, and found there without a network

Only the files that a checkpoint has are fetched. HF_HUB_OFFLINE, HF_HOME, HF_TOKEN and HF_ENDPOINT mean what they mean
to every user of `huggingface_hub`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from kogner_ray.errors import CheckpointError, ConfigError
from kogner_ray.kg.folder import whole_folder
from kogner_ray.student.card import model_card
from kogner_ray.student.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from kogner_ray.student.gliner import CONFIG as GLINER_CONFIG
from kogner_ray.student.gliner import read_gliner

_OURS = "student.json"
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>\S+))?")
_TOKENIZER = ("*.json", "*.txt", "*.model")
_FILES_OF_OURS = (
    _OURS,
    "model.safetensors",
    "kg_head.safetensors",
    "provenance.json",
    *(f"{folder}/{pattern}" for folder in ("tokenizer", "labels_tokenizer") for pattern in _TOKENIZER),
    *(f"entities/*.{suffix}" for suffix in ("parquet", "safetensors", "json")),
    *(f"index/*.{suffix}" for suffix in ("json", "npy", "faiss")),
)
_FILES_OF_GLINER = (
    GLINER_CONFIG,
    "model.safetensors",
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.*"),
    *("merges.txt", "spm.model", "spiece.model", "sentencepiece*.model"),
    *(f"labels_tokenizer/{pattern}" for pattern in _TOKENIZER),
)


def load_checkpoint(name: str | Path, *, revision: str | None = None, token: str | None = None) -> Checkpoint:
    """The checkpoint in a folder or, where there is no such folder, of that id on the hub.

    Args:
        name: folder, or `org/name` or `org/name@revision` on the hub.
        revision: branch, tag or commit on the hub; None takes the one in `name`, or the newest.
        token: of the hub; None takes the one that the user is logged in with.

    Raises:
        CheckpointError: no such folder or model, the hub cannot be reached or does not let this user in, or what is
            there is no complete checkpoint.
        ConfigError: `revision` for a folder, or beside another one in `name`.
    """
    folder = local_folder(name, revision=revision, token=token)
    return read_gliner(folder) if (folder / GLINER_CONFIG).is_file() else read_checkpoint(folder)


def local_folder(name: str | Path, *, revision: str | None = None, token: str | None = None) -> Path:
    """The folder that `name` stands for, fetched when it is a hub id; arguments and errors as in `load_checkpoint`."""
    is_id = None if Path(name).exists() else _HUB_ID.fullmatch(str(name))
    if is_id is None:
        if revision is not None:
            raise ConfigError(f"revision: {name} is no id on the hub (org/name), only such a one has revisions")
        return Path(name)
    if revision is not None and is_id["revision"] is not None:
        raise ConfigError(f"revision: {revision!r} was given beside the one in {name}")
    return _fetched(is_id["repo"], revision or is_id["revision"], token)


def save_pretrained(checkpoint: Checkpoint, folder: str | Path, *, name: str | None = None) -> Path:
    """Write `checkpoint` with a model card (README.md); `name` is what the card calls it, by default as the folder.

    Raises:
        CheckpointError: the folder cannot be written, or holds something else than an older checkpoint.
    """
    with whole_folder(folder, marker=_OURS) as partial:
        write_checkpoint(checkpoint, partial)
        (partial / "README.md").write_text(model_card(checkpoint, name=name or str(folder)), encoding="utf-8")
    return Path(folder)


def push_to_hub(
    checkpoint: Checkpoint,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload `checkpoint` with a model card; parts of an older one that this one lacks are deleted there.

    Args:
        checkpoint: what to upload.
        repo_id: `org/name`; made when the hub has no such model.
        private: whether a new one is private; an older one stays as it is.
        token: of the hub; None takes the one that the user is logged in with.
        revision: branch to upload to; made when there is none. None takes `main`.
        commit_message: of the upload.

    Returns:
        The address of the upload.

    Raises:
        ConfigError: `repo_id` is no `org/name`.
        CheckpointError: the hub cannot be reached or does not let this user in.
    """
    if not (is_id := _HUB_ID.fullmatch(repo_id)) or is_id["revision"]:
        raise ConfigError(f"repo_id: expected org/name, got {repo_id!r}; a branch goes into `revision`")
    api = HfApi(token=token, library_name="kogner_ray")
    with tempfile.TemporaryDirectory() as scratch, _plain_errors(repo_id, revision):
        folder = save_pretrained(checkpoint, Path(scratch) / "checkpoint", name=repo_id)
        api.create_repo(repo_id, private=private, exist_ok=True)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=commit_message or "Upload a kogner_ray checkpoint",
            delete_patterns=list(_FILES_OF_OURS),
        )
    return str(done.commit_url)


def _fetched(repo: str, revision: str | None, token: str | None) -> Path:
    def fetch(*patterns: str, revision: str | None) -> Path:
        found = snapshot_download(
            repo,
            revision=revision,
            token=token,
            allow_patterns=list(patterns),
            library_name="kogner_ray",
            local_files_only=constants.HF_HUB_OFFLINE,  # else a commit is looked up on the hub though it is cached
        )
        return Path(str(found))

    with _plain_errors(repo, revision):
        # First what tells its kind: a repository of another kind may hold gigabytes.
        folder = fetch(_OURS, GLINER_CONFIG, revision=revision)
        is_gliner = (folder / GLINER_CONFIG).is_file()
        if not is_gliner and not (folder / _OURS).is_file():
            raise CheckpointError(
                f"{repo}: expected {_OURS} or {GLINER_CONFIG} in that model on the hub, found neither"
            )
        commit = folder.name  # the rest is of the same commit, whatever is uploaded meanwhile
        fetch(*(_FILES_OF_GLINER if is_gliner else _FILES_OF_OURS), revision=commit)
        if is_gliner and not (folder / "model.safetensors").is_file():
            fetch("pytorch_model.bin", revision=commit)
    return folder


@contextmanager
def _plain_errors(repo: str, revision: str | None) -> Iterator[None]:
    """What the hub refuses, as a `CheckpointError` that says what to do."""
    try:
        yield
    except GatedRepoError as error:
        page = f"{constants.ENDPOINT}/{repo}"
        raise CheckpointError(f"{repo}: the model is gated: accept its terms at {page} and {_LOG_IN}") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{repo}: no such folder here and no such model on the hub that you may see; check the name or, if it is "
            f"private, {_LOG_IN}"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{repo}: the model has no branch, tag or commit {revision!r} on the hub") from error
    except HFValidationError as error:
        raise CheckpointError(f"{repo}: no such folder here, and no id that the hub could have: {error}") from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise CheckpointError(f"{repo}: the hub does not let you do that ({error}); {_LOG_IN}") from error
        raise CheckpointError(f"{repo}: the hub failed: {error}") from error
    except (OSError, httpx.HTTPError) as error:
        raise CheckpointError(
            f"{repo}: no such folder here, not whole in the cache {constants.HF_HUB_CACHE}, and the hub cannot be "
            f"reached ({_why(error)}). Fetch it once with a network, or give the folder of a copy"
        ) from error


_LOG_IN = "log in with `hf auth login` or set HF_TOKEN to a token with that right"


def _why(error: Exception) -> str:
    return "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else str(error).strip().splitlines()[0]
