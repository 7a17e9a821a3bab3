from django.contrib.auth.management import create_permissions
from django.db import migrations

ROLES = ("viewer", "editor", "security officer")
GRANTED = ("view_usageslice", "view_loggedrequest")


def _granted(apps):
    return apps.get_model("auth", "Permission").objects.filter(
        content_type__app_label="gateway", codename__in=GRANTED
    )


def grant(apps, schema_editor):
    """Let every role look; the permissions first, which Django makes only after all migrations."""
    config = apps.get_app_config("gateway")
    config.models_module = True
    create_permissions(config, verbosity=0, apps=apps)
    config.models_module = None
    for group in apps.get_model("auth", "Group").objects.filter(name__in=ROLES):
        group.permissions.add(*_granted(apps))


def withdraw(apps, schema_editor):
    for group in apps.get_model("auth", "Group").objects.filter(name__in=ROLES):
        group.permissions.remove(*_granted(apps))


class Migration(migrations.Migration):
    dependencies = [("gateway", "0006_roles")]

    operations = [migrations.RunPython(grant, withdraw)]
