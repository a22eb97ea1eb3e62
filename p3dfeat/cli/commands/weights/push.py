"""p3dfeat weights push"""

import json
from typing import Annotated

import typer

from p3dfeat.cli.options import command, flag
from p3dfeat.cli.output import out
from p3dfeat.errors import UsageError
from p3dfeat.options import MODEL_HELP

README = "README.md"
GROUP = "Repository"

Model = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL_HELP)]
Repository = Annotated[str, typer.Argument(metavar="USER/REPO", help="Repository on the Hugging Face Hub.")]
Private = Annotated[bool, flag("--private", group=GROUP, help="Make a new repository private.")]
Overwrite = Annotated[bool, flag("--overwrite", group=GROUP, help="Replace another model and its README.md.")]
Message = Annotated[str, typer.Option("--message", metavar="TEXT", rich_help_panel=GROUP, help="Commit message.")]


@command(json=False)
def push(
    model: Model,
    repository: Repository,
    private: Private = False,
    overwrite: Overwrite = False,
    message: Message = "Weights and card, written by p3dfeat",
) -> None:
    """Publish a model on the Hugging Face Hub: model.safetensors, config.json with its card, and README.md.

    An existing README.md is kept. Log in with `hf auth login`, or set HF_TOKEN. Prints the address of the commit.
    Afterwards, --model USER/REPO loads the model.
    """
    from p3dfeat import zoo
    from p3dfeat.cli.progress import fetch_bar, on_terminal
    from p3dfeat.zoo.cards import card_content
    from p3dfeat.zoo.download import hub

    if hub.parse_repository(repository) is None:
        raise UsageError(f"repository {repository!r}: must be user/repo")
    with fetch_bar() as show_bytes:
        located = zoo.locate(model, on_fetch=show_bytes)
    located.check()
    converted = zoo.convert(located.weights, card=located.card)
    if not overwrite:
        _check_free(repository, card_content(converted.card))
    files = zoo.hub_files(converted, repository=repository)
    if not overwrite and hub.holds(repository, README):
        del files[README]
        out.say(f"{repository}: its {README} is kept; --overwrite replaces it")
    out.data(hub.upload(files, repository, private=private, message=message, show_progress=on_terminal()))


def _check_free(repository: str, ours: dict[str, object]) -> None:
    """Refuse to replace anything but an earlier version of this model. ours: the content of its card."""
    from p3dfeat.zoo.download import hub

    ours = json.loads(json.dumps(ours))  # turns tuples into lists
    config = hub.config_of(repository)
    card = config.get("p3dfeat") if config is not None else None
    is_same = isinstance(card, dict) and all(card.get(key) == ours[key] for key in ("name", "net"))
    if not is_same and (config is not None or hub.holds(repository, hub.WEIGHTS)):
        raise UsageError(f"{repository}: holds another model; name another repository, or --overwrite it")
