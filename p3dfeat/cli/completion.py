"""Shell completion for values of options. It must be fast: nothing here loads torch."""

import os
from typing import Final

LAYERS: Final = ("pool5", "prob", "logits", "pool1")  # in addition to the default model's blocks


def models(incomplete: str) -> list[str]:
    """Names of model cards, files and folders."""
    from p3dfeat.zoo import card_names

    found = [name for name in card_names() if name.startswith(incomplete)]
    return found + _files(incomplete)


def layers(incomplete: str) -> list[str]:
    """Names of layers; in a list such as ``pool5,pr``, the last name is completed."""
    from p3dfeat.config import default_model
    from p3dfeat.zoo import card_names, find_card

    name = default_model()
    blocks = find_card(name).architecture.layers if name in card_names() else ()
    *before, last = incomplete.split(",")
    start = "".join(f"{name}," for name in before)
    return [start + layer for layer in dict.fromkeys([*LAYERS, *blocks]) if layer.startswith(last)]


def _files(incomplete: str) -> list[str]:
    folder, _, start = incomplete.rpartition("/")
    place = folder or ("/" if incomplete.startswith("/") else ".")
    try:
        names = sorted(os.listdir(place))
    except OSError:
        return []
    prefix = incomplete[: len(incomplete) - len(start)]
    return [
        prefix + name + ("/" if os.path.isdir(os.path.join(place, name)) else "")
        for name in names
        if name.startswith(start) and (start or not name.startswith("."))
    ]
