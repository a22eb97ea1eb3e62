"""The files of a model on the Hugging Face hub."""

import json
from typing import Final

from p3dfeat.zoo.cards import Card, card_content
from p3dfeat.zoo.conversion.saving import Converted, file_content
from p3dfeat.zoo.download import hub

HUB_LICENCES: Final = ("MIT", "Apache-2.0", "BSD-3-Clause")  # licences with the same name on the hub


def hub_files(converted: Converted, *, repository: str) -> dict[str, bytes]:
    """The files of a model on the hub: config.json, model.safetensors, and a README.md for people."""
    card = converted.card
    config = {"model_type": "p3d", "library_name": "p3dfeat", "p3dfeat": card_content(card)}
    return {
        hub.CONFIG: json.dumps(config, indent=2, ensure_ascii=False).encode() + b"\n",
        "README.md": _readme(card, repository).encode(),
        hub.WEIGHTS: file_content(converted),
    }


def _readme(card: Card, repository: str) -> str:
    licence = f"license: {card.licence.lower()}\n" if card.licence in HUB_LICENCES else ""
    usage = f"p3dfeat extract videos/ -o feats.h5 --model {repository}\np3dfeat classify clip.mp4 --model {repository}"
    parts = [
        f"---\n{licence}library_name: p3dfeat\npipeline_tag: video-classification\ntags: [p3d, video]\n---",
        f"# {card.title}",
        f"```sh\n{usage}\n```",
        card.notes,
        f"Not known: {card.unknown}" if card.unknown else "",
        f"Licence: {card.licence}",
        card.citation,
    ]
    return "\n\n".join(filter(None, parts)) + "\n"
