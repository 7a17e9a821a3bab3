from django.contrib.auth.management import create_permissions
from django.db import migrations

LOOKING = ["view_installedindex", "view_goldenquestion", "view_unansweredquestion"]
CHANGING = ["change_installedindex", "change_goldenquestion", "change_unansweredquestion"]
GRANTS = {
    "viewer": LOOKING,
    "editor": [*LOOKING, *CHANGING],
    "security officer": LOOKING,
}


def grant(apps, schema_editor):
    """Give the roles their permissions, which Django makes only after all migrations."""
    config = apps.get_app_config("docsearch")
    config.models_module = True
    create_permissions(config, verbosity=0, apps=apps)
    config.models_module = None
    groups = apps.get_model("auth", "Group").objects
    permissions = apps.get_model("auth", "Permission").objects
    for role, codenames in GRANTS.items():
        found = permissions.filter(
            content_type__app_label="docsearch", codename__in=codenames
        )
        groups.get(name=role).permissions.add(*found)


def take_back(apps, schema_editor):
    for group in apps.get_model("auth", "Group").objects.filter(name__in=GRANTS):
        granted = group.permissions.filter(content_type__app_label="docsearch")
        group.permissions.remove(*granted)


class Migration(migrations.Migration):
    dependencies = [
        ("docsearch", "0002_index_history"),
        ("gateway", "0009_evaluations_for_roles"),
    ]

    operations = [migrations.RunPython(grant, take_back)]
