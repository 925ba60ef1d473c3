"""The libraries that load models, kept quiet, and the model hub: whether it can be asked now."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def _hearsay(record: logging.LogRecord) -> bool:
    """Whether a library's message is worth showing: not that torchvision is absent or that a file is old."""
    return not any(
        words in record.getMessage() for words in ("requires torchvision", "`torch_dtype` is deprecated")
    )


for _library in (
    "transformers.utils.import_utils",
    "transformers.configuration_utils",
    "transformers.modeling_utils",
):
    logging.getLogger(_library).addFilter(_hearsay)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and load reports of the libraries while motif loads: what is absent is an error of its own."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    libraries: tuple[Any, ...] = (transformers_logging, diffusers_logging)
    before = [(library.get_verbosity(), library.is_progress_bar_enabled()) for library in libraries]
    for library in libraries:
        library.set_verbosity_error()
        library.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message=".*local_dir_use_symlinks"
            )  # diffusers' call of its hub library
            yield
    finally:
        for library, (level, bar) in zip(libraries, before, strict=True):
            library.set_verbosity(level)
            if bar:
                library.enable_progress_bar()


def out_of_reach() -> str:
    """Why the hub cannot be asked now; empty where it can. One connection, so that no machine waits for long."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    if getproxies():
        return ""
    hub = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection(
            (hub.hostname or "", hub.port or (80 if hub.scheme == "http" else 443)), 5
        ).close()
    except OSError as error:
        return f"{hub.hostname} does not answer ({error.strerror or error})"
    return ""
