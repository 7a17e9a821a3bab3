from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django_otp.plugins.otp_totp.models import TOTPDevice

from gateway.audit import Attribution, Origin, record, system_user


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Forget a user's authenticator app: the next login sets up a new one. "
        "Example: reset_second_factor alice"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="who lost the phone")

    def handle(self, *, user: str, **_: Any) -> None:
        found = get_user_model().objects.filter(username=user).first()
        if found is None:
            raise CommandError(f"There is no user {user}.", returncode=2)
        with transaction.atomic():
            forgotten, _details = TOTPDevice.objects.filter(user=found).delete()
            if forgotten:
                record(
                    Attribution(system_user(), Origin.COMMAND),
                    "second_factor.reset",
                    object_id=str(found.pk),
                    object_name=user,
                )
        self.stdout.write(
            f"Forgotten: {user} sets up a new second factor at the next login."
            if forgotten
            else f"{user} has no second factor."
        )
