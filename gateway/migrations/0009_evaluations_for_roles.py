from django.contrib.auth.management import create_permissions
from django.db import migrations

GRANTS = {
    "viewer": ["view_evaluationrun"],
    "editor": ["view_evaluationrun", "add_evaluationrun"],
    "security officer": ["view_evaluationrun"],
}


def grant(apps, schema_editor):
    config = apps.get_app_config("prompts")
    config.models_module = True
    create_permissions(config, verbosity=0, apps=apps)
    config.models_module = None
    permissions = apps.get_model("auth", "Permission").objects
    for role, codenames in GRANTS.items():
        group = apps.get_model("auth", "Group").objects.filter(name=role).first()
        if group is not None:
            found = permissions.filter(content_type__app_label="prompts", codename__in=codenames)
            group.permissions.add(*found)


def take_back(apps, schema_editor):
    held = apps.get_model("auth", "Group").permissions.through.objects
    held.filter(permission__content_type__app_label="prompts").delete()


class Migration(migrations.Migration):
    dependencies = [
        ("gateway", "0008_weeks_of_usage"),
        ("prompts", "0002_run_subject"),
    ]

    operations = [migrations.RunPython(grant, take_back)]
