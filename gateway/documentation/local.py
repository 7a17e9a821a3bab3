"""The indexes on this node, searched by words; by meaning too where DOCS_HYBRID says so."""

from functools import cache

from django.conf import settings

from docsearch.backend import LocalBackend
from docsearch.errors import EncoderMissing
from docsearch.search import MeaningSearch
from docsearch.store import IndexStore
from selfhosted_models.errors import SettingInvalid


def local_backend(store: IndexStore, *, is_hybrid: bool) -> LocalBackend:
    """Return what searches the indexes in `store`.

    Raises:
        SettingInvalid: It is to search by meaning, and the extra for it is not installed.
    """
    return LocalBackend(store, _meaning() if is_hybrid else None)


def require_encoder() -> None:
    """Pass if what DOCS_HYBRID needs is installed, or it is off; nothing is loaded.

    Raises:
        SettingInvalid: The extra is not installed.
    """
    if settings.DOCS_HYBRID:
        _require_extra()


def _require_extra() -> None:
    from docsearch.hybrid import installed_model

    try:
        installed_model()
    except EncoderMissing as error:
        raise SettingInvalid(
            f"DOCS_HYBRID is on. {error}", "Or unset it: words alone count then."
        ) from error


@cache
def _meaning() -> MeaningSearch:
    """Load the encoder, once in a process; nothing of the extra is imported before."""
    _require_extra()
    from docsearch.hybrid import load_encoder
    from docsearch.hybrid.nearness import VectorSearch

    return VectorSearch(load_encoder())
