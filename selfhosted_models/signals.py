"""What higher apps may say about a deployment, without this one knowing them."""

from django.dispatch import Signal

#: Sent by `ModelDeployment.clean()` with `deployment`; a receiver refuses by `ValidationError`.
deployment_cleaning = Signal()

#: Sent with `deployment_ids` within the transaction that may have changed their families.
families_saved = Signal()
