"""What higher apps may say about a choice, without this one knowing them."""

from django.dispatch import Signal

#: Sent with `feature`, `families` and `prompt_version`; a receiver refuses by `ValidationError`.
prompt_version_cleaning = Signal()
