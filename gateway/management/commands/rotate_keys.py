import json
from dataclasses import asdict
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from docsearch.progress import progress_bar
from gateway.audit import Attribution, Origin, system_user
from gateway.operations.key_rotation import Rotation, plan_rotation, rotate_stored_keys
from selfhosted_models.secrets import SecretBox

UNHEALTHY = 1


class Command(BaseCommand):
    requires_system_checks = []
    help = (
        "Encrypt every stored key of a model server anew with the first of ENCRYPTION_KEYS, so "
        "that the others can be retired. Put a new key first, restart all nodes, run this, and "
        "when nothing is left remove the old key. Interrupted, it goes on with the next call. Exit "
        "status: 0 no stored key needs an older key; 1 some do. Examples: rotate_keys --check; "
        "rotate_keys"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="only say what is left to do")
        parser.add_argument("--json", action="store_true", help="for machines")

    def handle(self, *, check: bool, **options: Any) -> None:
        box = SecretBox(settings.ENCRYPTION_KEYS)
        if check:
            found = plan_rotation(box)
        else:
            by = Attribution(system_user(), Origin.COMMAND)
            found = rotate_stored_keys(box, by, on_row=progress_bar("keys"))
        if options["json"]:
            self.stdout.write(json.dumps(asdict(found), indent=2))
        else:
            self._tell(found, check=check)
        if found.left or (check and (found.rotated or found.forgotten)):
            raise CommandError(_remedy(found), returncode=UNHEALTHY)

    def _tell(self, found: Rotation, *, check: bool) -> None:
        done = "to be encrypted anew" if check else "encrypted anew"
        self.stdout.write(f"{found.rotated} {done}, {found.current} are of the newest key already.")
        for name in found.forgotten:
            done = "would be" if check else "was"
            self.stdout.write(
                f"None of ENCRYPTION_KEYS opens the key of {name}: it {done} cancelled."
            )
        if not found.left and not (check and (found.rotated or found.forgotten)):
            self.stdout.write(
                "Older keys may be removed from ENCRYPTION_KEYS on every node, once no backup you "
                "might restore needs them."
            )


def _remedy(found: Rotation) -> str:
    lines = ["Do not remove older ENCRYPTION_KEYS yet."]
    if found.unreadable:
        names = ", ".join(found.unreadable)
        lines.append(
            f"None of them opens the key of: {names}. Put back the one it was saved with, or enter "
            "the key again."
        )
    if found.changed_meanwhile:
        names = ", ".join(found.changed_meanwhile)
        lines.append(f"Changed by somebody meanwhile: {names}. Run it again.")
    elif not found.left:
        lines.append("Run: manage.py rotate_keys")
    return " ".join(lines)
