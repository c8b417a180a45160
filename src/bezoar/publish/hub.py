"""The Hugging Face hub: one commit with an artifact's exact bytes and its card."""

import os
from typing import TYPE_CHECKING

from bezoar.errors import BezoarError, InputError, problem
from bezoar.publish.records import CARD, Published

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

TOKEN = "HF_TOKEN"
OWN = {".gitattributes"}  # the hub's own file of a repository


def upload(target: Published, card: str, repository: str, *, public: bool) -> str:
    """Commit an artifact and its card to a repository, which is made if there is none; the commit's address.

    Raises:
        InputError: There is no token, or the repository isn't as asked for.
        BezoarError: The hub refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    token = os.environ.get(TOKEN)
    if not token:
        what, hint = "no token for the hub", "https://huggingface.co/settings/tokens makes one that may write"
        raise InputError(problem(what, found=f"{TOKEN} is not set", expected=f"a token in {TOKEN}", hint=hint))
    api = HfApi(token=token, library_name="bezoar")
    try:
        api.create_repo(repository, repo_type=target.kind, private=not public, exist_ok=True)
        _check_repository(api, target, repository, public=public)
        made = api.create_commit(
            repository,
            _operations(target, card),
            repo_type=target.kind,
            commit_message=f"{target.name} by bezoar",
        )
    except BezoarError:
        raise
    except (HTTPError, OSError, ValueError) as error:
        found = str(error).strip().replace(token, "***").partition("\n")[0] or type(error).__name__
        raise BezoarError(
            problem(
                f"{target.folder} was not published as {repository}",
                found=found,
                expected="a repository ORG/NAME that this token may write",
            )
        ) from None
    return str(made.commit_url)


def _check_repository(api: "HfApi", target: Published, repository: str, *, public: bool) -> None:
    """Refuse a repository that others can see, unless asked for, and one with files that would stay beside the new.

    Raises:
        InputError: It is such a repository.
    """
    about = api.model_info(repository) if target.kind == "model" else api.dataset_info(repository)
    if not about.private and not public:
        what, hint = f"{repository} is public", "--public, if everyone may have it"
        raise InputError(problem(what, found="a public repository", expected="a private one", hint=hint))
    names = {one.rfilename for one in about.siblings or []}
    others = sorted(names - OWN - {CARD} - {one.name for one in target.files})
    if others:
        raise InputError(
            problem(
                f"{repository} has files that {target.folder} doesn't have",
                found=f"{', '.join(others[:3])}{' and more' if len(others) > 3 else ''}",
                expected="an empty repository, or an earlier state of the same artifact",
                hint="remove them, since old weights beside new ones would be loaded; or name another repository",
            )
        )


def _operations(target: Published, card: str) -> list["CommitOperationAdd"]:
    """The files, each hashed as it will be sent, and the card.

    Raises:
        BezoarError: A file has changed since it was compared with its record.
    """
    from huggingface_hub import CommitOperationAdd

    made = [CommitOperationAdd(CARD, card.encode())]
    for one in (one for one in target.files if one.name != CARD):
        operation = CommitOperationAdd(one.name, target.folder / one.name)
        if operation.upload_info.sha256.hex() != one.sha256:
            what = f"{target.folder / one.name} has just changed"
            raise BezoarError(problem(what, found=operation.upload_info.sha256.hex(), expected=one.sha256))
        made.append(operation)
    return made
